"""Public data sets, fetched from where their authors publish them, and checked.

Each comes from a fixed commit, so its files cannot change. The authors publish no checksums:
these were recorded by an independent audit of the same commits; the one of Multi-CPR's qrels of
dev was recomputed from the contents. The medical corpus of Multi-CPR is the 959,526 passages of
its paper and the 1,000 positives of dev; of the 100,000 train queries 99,999 are there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

from corom.downloads import fetch
from corom.errors import DownloadError, InputError
from corom.files import sha256
from corom.readers.dataset import Dataset
from corom.readers.recognise import open_dataset

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with the name of a file, the bytes there are so far and the bytes it has."""


class Published(NamedTuple):
    """A public data set: where it lies, on what terms, and what has to arrive.

    `files` are lines of SHA-256, bytes and name; the counts are of passages, and of queries and
    relevant judgements in each split.
    """

    url: str
    terms: str
    files: str
    passages: int
    splits: Mapping[str, tuple[int, int]]


PUBLISHED: Mapping[str, Published] = {
    "multi-cpr-medical": Published(
        url="https://github.com/Alibaba-NLP/Multi-CPR/raw/"
        "a4e467182a3e2c110528a1575d79b33cc449d2c3/data/medical",
        terms="no licence stated; cite Long et al., SIGIR 2022",
        files="""
6fe98d704da0f294b6033855c0f927e8c814292fbf4a2be00cb78cd4f63d7a64 87570784 corpus_split_1.tsv
10e31087c1bc3321906711051000875f16083c51badc40524acd900ba3a4af77 87570784 corpus_split_2.tsv
c2e816e7f68e4db1e44a74d35a84f2c0e49e2a3fddb7d4c178d26d198cd692c3 87570784 corpus_split_3.tsv
4bb31d3220c2684a24c104bc1c30f43a35771d87ab96ea4546bfa42aece820a7 87570786 corpus_split_4.tsv
8cda9b79e068f013db11e971b04c66aa48c32319d36dd861eaa56725a23694e6 5678463 train.query.txt
a7aa0671305f4c2fc3e65376b1eb703fccb4f35d430b666c4a42b5ff85a40af1 57652 dev.query.txt
e19f1efc176fa816f6b2d3bc94b6175ee1c1edb55989771605a4a3d371587d81 1677422 qrels.train.tsv
0aba3916c4dd654e4d8b1ba828a691d20f0fc397f233630f2dbc95c68c2b9cba 16893 qrels.dev.tsv
""",
        passages=960_526,
        splits={"dev": (1_000, 1_000), "train": (99_999, 99_999)},
    ),
    "cmedqa2": Published(
        url="https://github.com/zhangsheng93/cMedQA2/raw/85feb9278c3ae552c591205cbf3e828368c91f8f",
        terms="non-commercial research only; cite Zhang et al., IEEE Access 2018",
        files="""
df4738599e20deed824757c40f78c5a3b752b262d2c730de72d69449d95daa89 7701487 question.zip
5fd8ba9f049e419929ff3526e7b6902aaa2caba43cf207ea086b1d7755394485 27610046 answer.zip
e3219cfcd5fe0e84e926e815c2029e494ef776520ef32b09f2a24dc3cbac9ab1 23740116 train_candidates.zip
3301b55cddbdd512f6960fb4ed72fd27c7b00db2ed3f10e88d0c2764263a379e 2395726 dev_candidates.zip
d358f5d6b5711a39942e3798f45b5a66887393d1858e88aa1953925e0b630c07 2394296 test_candidates.zip
""",
        passages=226_266,
        splits={"train": (100_000, 188_490), "dev": (4_000, 7_527), "test": (4_000, 7_552)},
    ),
}


def download_dataset(
    name: str, target: Path, *, base_url: str | None = None, progress: Progress | None = None
) -> Dataset:
    """Return a data set of `PUBLISHED`, downloaded into the folder `target` and counted.

    Files that are there already are checked and kept; an interrupted download goes on where it
    stopped. `base_url` is a mirror that holds the same files. Raises InputError for an unknown
    name, DownloadError when a file cannot be fetched, is another one than was published, or the
    counts differ.
    """
    if name not in PUBLISHED:
        raise InputError(f"no data set {name!r}; there are {', '.join(PUBLISHED)}")
    published = PUBLISHED[name]
    for line in published.files.split("\n")[1:-1]:
        digest, size, file = line.split(" ")
        path = target / file
        if path.exists():
            if path.stat().st_size != int(size) or sha256(path) != digest:
                raise DownloadError(f"{path} is another file than was published; move it away")
            continue
        fetch(
            f"{(base_url or published.url).rstrip('/')}/{file}",
            path,
            size=int(size),
            sha256=digest,
            progress=_named(progress, file, int(size)),
        )
    dataset = open_dataset(target)
    _check_counts(dataset, published)
    return dataset


def _named(
    progress: Progress | None, file: str, size: int
) -> Callable[[int, int | None], None] | None:
    if progress is None:
        return None
    return lambda done, _: progress(file, done, size)


def _check_counts(dataset: Dataset, published: Published) -> None:
    found = {
        split: (
            sum(1 for _ in dataset.queries(split)),
            sum(qrel.grade >= 1 for qrel in dataset.qrels(split)),
        )
        for split in dataset.splits
    }
    passages = sum(1 for _ in dataset.passages())
    if (passages, found) != (published.passages, published.splits):
        raise DownloadError(
            f"{dataset.path} holds {passages} passages and {found} (queries, relevant), "
            f"expected {published.passages} and {dict(published.splits)}"
        )
