"""Hard negatives: what ranks high for a query and is not known to answer it.

Input and output have the same form: a file of pairs gives pairs with `negatives`, a file of
groups or a dataset folder gives groups. What is mined comes after the negatives already there.
Too good is suspicious: a passage that scores within `relative_margin` of the positive is dropped
as a probable unlabelled answer (NV-Retriever, 2407.15831: keep what is below 95 %).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from corom.errors import InputError
from corom.models.names import open_model
from corom.readers import Group, SkipReport, open_dataset, open_passages
from corom.records import Passage
from corom.training.candidates import Candidates, open_source
from corom.training.examples import Row, text_key
from corom.training.inputs import Record, output_names, records_of, write_records
from corom.training.mining_settings import MineSettings
from corom.training.progress import Counted
from corom.training.provenance import checksums, made_once, versions
from corom.training.rows import in_pool, row_of
from corom.training.sources import plain_source, row_weights
from corom.training.tables import as_table

MiningProgress: TypeAlias = Callable[[Counted], None]

_RECORDS = 1024


@dataclass(frozen=True, kw_only=True)
class Mined:
    """What mining found and what it dropped: counts, no text."""

    files: tuple[Path, ...]
    passages: int
    """Different texts that were searched."""
    records: int
    negatives: int
    """Mined, not counting those the data had already."""
    without: int
    """Records for which nothing was left."""
    mean_rank: float
    """Of the mined, from 1; 0 where nothing was mined."""
    dropped: dict[str, int]
    """Reason -> candidates dropped."""
    left_out: dict[str, int]
    """Reason -> records of the data, and judgements in it, that could not be used."""


def mine(settings: MineSettings, *, progress: MiningProgress | None = None) -> Mined:
    """Write the data with mined negatives into the folder `settings.output`.

    The folder holds one .jsonl for each input and report.json, and appears whole or not at all;
    when it is there already, made from the same inputs by the same settings, its report is
    returned. Raises InputError, and FormatError for data that cannot be read.
    """
    output, names = Path(settings.output), output_names(settings.data)

    def write(draft: Path) -> dict[str, Any]:
        miner = Miner(settings, progress=progress)
        for name, path in names.items():
            write_records(draft / name, miner.mined(path), like=path)
        return {"versions": versions(), "report": miner.report()}

    made_of = {"settings": as_table(settings), "inputs": _inputs(settings)}
    report = made_once(output, made_of, write)["report"]
    return Mined(files=tuple(output / name for name in names), **report)


def _inputs(settings: MineSettings) -> dict[str, str]:
    model = {}
    if settings.source == "dense":
        model = {settings.model: open_model(settings.model).fingerprint}
    return {**model, **checksums([*settings.data, *filter(None, [settings.corpus])])}


class Ids:
    """Which ids stand for several texts: files of groups may each count theirs from 0."""

    def __init__(self) -> None:
        self._texts: dict[str, int] = {}
        self._shared: set[str] = set()

    def note(self, passages: Iterable[Passage]) -> None:
        """Note the texts of passages."""
        for passage in passages:
            key = text_key(passage.content)
            if self._texts.setdefault(passage.id, key) != key:
                self._shared.add(passage.id)

    def told_apart(self, passage: Passage) -> Passage:
        """Return the passage, under an id made of its text too where others have its own."""
        if passage.id not in self._shared:
            return passage
        return passage._replace(id=f"{passage.id}-{text_key(passage.content) % 2**64:016x}")


class Miner:
    """Candidates, filters and counts of one run."""

    def __init__(self, settings: MineSettings, *, progress: MiningProgress | None = None) -> None:
        self.settings, self.progress = settings, progress
        self.skips, self.dropped, self.lost = SkipReport(), Counter[str](), Counter[str]()
        self.total = self.records = self.without = self.negatives = self.ranks = 0
        self.passages: list[Passage] = []
        self.places: dict[int, int] = {}
        self.answers: dict[int, list[str]] = defaultdict(list)
        self.ids = Ids()
        self._survey()
        texts = [passage.content for passage in self.passages]
        self.keys = [text_key(text) for text in texts]
        self.source = open_source(settings, texts, places=self.places, progress=progress)

    def _survey(self) -> None:
        """Read everything once: the pool, each text once, and what is known to answer what."""
        own, skip = not self.settings.corpus, self.settings.bad_rows == "skip"
        if not own:
            skips = self.skips if skip else None
            self._add(open_passages(self.settings.corpus, skips=skips))
        for path in map(Path, self.settings.data):
            if own and path.is_dir():  # what is left out of it is counted with its records
                skips = SkipReport() if skip else None
                self._add(open_dataset(path, skips=skips).passages())
            for record in records_of(path, self.settings, skips=self.skips, lost=self.lost):
                self.total += 1
                row = row_of(record, source=plain_source(path.name))
                known = self.answers[text_key(row.query)]
                known.extend(text for text in row.positives if text not in known)
                if isinstance(record, Group):
                    self.ids.note((*record.positives, *record.negatives))
                if own:
                    self._add(self._searched(record, row))
        if not self.passages:
            raise InputError(f"no passage to mine in; {self.skips.describe()}")

    def _searched(self, record: Record, row: Row) -> Iterator[Passage]:
        """Yield those of a record's passages that may become negatives of others."""
        (share,) = row_weights([row.source], self.settings.pool).tolist()
        for passage in _passages(record, number=self.total):
            if in_pool(passage.content, share):
                yield passage

    def _add(self, passages: Iterable[Passage]) -> None:
        for passage in passages:
            self.ids.note([passage])
            place = self.places.setdefault(text_key(passage.content), len(self.passages))
            if place == len(self.passages):
                self.passages.append(passage)

    def mined(self, path: Path) -> Iterator[Record]:
        """Yield the records of an input with their negatives."""
        coming = iter(records_of(path, self.settings, skips=SkipReport()))
        while block := list(islice(coming, _RECORDS)):
            answers = [self.answers[text_key(record.query)] for record in block]
            offered = self.source.candidates([record.query for record in block], answers)
            for record, candidates in zip(block, offered, strict=True):
                self.records += 1
                chosen = [self.passages[place] for place in self._chosen(record, candidates)]
                yield _extended(record, list(map(self.ids.told_apart, chosen)))
            if self.progress:
                self.progress(Counted("records", self.records, self.total))

    def _chosen(self, record: Record, candidates: Candidates) -> list[int]:
        """Return the places of a record's new negatives."""
        query = text_key(record.query)
        reasons = {text_key(text): "known positive" for text in self.answers[query]}
        already = row_of(record, source="").negatives
        reasons |= {text_key(text): "negative already" for text in already}
        reasons[query] = "the query itself"
        left: list[tuple[int, int]] = []
        for rank, (place, score) in enumerate(zip(*candidates[:2], strict=True), start=1):
            if rank <= self.settings.skip_first:
                reason = "ranked before the window"
            else:
                near = "too close to the positive" if score > candidates.bar else ""
                reason = reasons.get(self.keys[place], near)
            if reason:
                self.dropped[reason] += 1
            else:
                left.append((rank, int(place)))
        if self.settings.choose == "random":
            rng = np.random.default_rng((self.settings.seed, self.records))
            left = [left[place] for place in rng.permutation(len(left))]
        chosen = left[: self.settings.negatives]
        self.without += not chosen
        self.negatives += len(chosen)
        self.ranks += sum(rank for rank, _ in chosen)
        return [place for _, place in chosen]

    def report(self) -> dict[str, Any]:
        """Return the fields of `Mined` but the files."""
        return {
            "passages": len(self.passages),
            "records": self.records,
            "negatives": self.negatives,
            "without": self.without,
            "mean_rank": round(self.ranks / max(1, self.negatives), 2),
            "dropped": dict(self.dropped),
            "left_out": dict(self.skips.counts + self.lost),
        }


def _passages(record: Record, *, number: int) -> Iterable[Passage]:
    if isinstance(record, Group):
        return (*record.positives, *record.negatives)
    texts = (record.positive, *record.negatives)
    return (Passage(f"{number}.{place}", text) for place, text in enumerate(texts))


def _extended(record: Record, found: Sequence[Passage]) -> Record:
    if isinstance(record, Group):
        return record._replace(negatives=(*record.negatives, *found))
    return record._replace(negatives=(*record.negatives, *(one.content for one in found)))
