"""A small medical data set in Multi-CPR's layout, and a tiny encoder as a retriever."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import CHARACTERS
from corom.encoder import Encoder
from corom.evaluation import Dense
from corom.readers import Dataset, open_dataset

PASSAGES = 60


def write_data(folder: Path) -> Path:
    """Sixty passages, among them two that are alike; queries are cut from them."""
    rng = random.Random(3)  # noqa: S311
    texts = ["".join(rng.choices(CHARACTERS, k=rng.randint(5, 30))) for _ in range(PASSAGES)]
    texts[41] = texts[40]
    folder.mkdir()
    lines = {"corpus.tsv": [f"{n}\t{text}" for n, text in enumerate(texts, 1)]}
    for split, first in (("dev", 0), ("test", 30)):
        chosen = range(first, first + 20)
        lines[f"{split}.query.txt"] = [f"{n + 1}\t{texts[n][2:9]}" for n in chosen]
        lines[f"qrels.{split}.tsv"] = [
            *(f"{n + 1}\t0\t{n + 1}\t1" for n in chosen),
            f"{first + 1}\t0\t{first + 9}\t2",
            f"{first + 2}\t0\t{first + 9}\t0",
        ]
    for name, content in lines.items():
        (folder / name).write_text("\n".join(content) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return open_dataset(write_data(tmp_path / "data"))


@pytest.fixture
def encoder(tiny_checkpoint: Callable) -> Encoder:
    # A text is another one as a query and as a passage.
    checkpoint = tiny_checkpoint(query_prefix="检查", passage_prefix="吃药")
    return Encoder.load(checkpoint.folder, precision="fp32")


@pytest.fixture
def dense(encoder: Encoder, tmp_path: Path) -> Callable[..., Dense]:
    """`dense(truncate_dim=8, …)` makes a retriever; all of them share one work folder."""

    def make(name: str = "tiny", **options: object) -> Dense:
        return Dense(encoder, name=name, work=tmp_path / "work", **options)

    return make
