"""A part of the data as files of their own, so that every later step works on the same part."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corom.files import atomic_folder, write_json
from corom.readers import Group, Pair, SkipReport
from corom.training.mining_settings import SampleSettings
from corom.training.plan import plain_source, row_weights, uses
from corom.training.provenance import checksums, is_made
from corom.training.rows import output_names, records_of, write_records
from corom.training.tables import as_table

REPORT = "report.json"


def sample(settings: SampleSettings) -> tuple[Path, ...]:
    """Write a part of the data into the folder `settings.output` and return its files.

    The folder appears whole or not at all; when it is there already, made from the same data by
    the same settings, it is left. Raises InputError and FormatError.
    """
    output = Path(settings.output)
    made_of = {"settings": as_table(settings), "inputs": checksums(settings.data)}
    names = output_names(settings.data)
    if not is_made(output, made_of, record=REPORT):
        skips, lost = SkipReport(), Counter[str]()
        kept = _kept(settings, skips, lost)
        with atomic_folder(output) as draft:
            place = 0
            for name, path in names.items():
                records = _records(path, settings, SkipReport())
                chosen = kept[place : place + len(records)].nonzero()[0].tolist()
                place += len(records)
                write_records(draft / name, (records[number] for number in chosen), like=path)
            counts = {"records": place, "kept": int(kept.sum()), "left out": skips.counts + lost}
            write_json(draft / REPORT, {**made_of, "report": counts})
    return tuple(output / name for name in names)


def _kept(settings: SampleSettings, skips: SkipReport, lost: Counter[str]) -> NDArray[np.int64]:
    """Return, for every record of all inputs in order, whether it is kept."""
    sources = [
        (record.source if isinstance(record, Pair) else "") or plain_source(Path(path).name)
        for path in settings.data
        for record in _records(Path(path), settings, skips, lost)
    ]
    weights = row_weights(sources, settings.weights)
    if settings.most is not None and weights.sum() > settings.most:
        weights *= settings.most / weights.sum()
    return uses(weights, rng=np.random.default_rng((settings.seed, 3)))


def _records(
    path: Path, settings: SampleSettings, skips: SkipReport, lost: Counter[str] | None = None
) -> list[Group | Pair]:
    kept = skips if settings.bad_rows == "skip" else None
    return list(records_of(path, split=settings.split, skips=kept, counts=lost))
