"""A part of the data as files of their own, so that every later step works on the same part."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corom.readers import SkipReport
from corom.training.inputs import output_names, records_of, write_records
from corom.training.mining_settings import SampleSettings
from corom.training.plan import uses
from corom.training.provenance import checksums, made_once
from corom.training.rows import row_of
from corom.training.sources import plain_source, row_weights
from corom.training.tables import as_table


def sample(settings: SampleSettings) -> tuple[Path, ...]:
    """Write a part of the data into the folder `settings.output` and return its files.

    The folder appears whole or not at all; when it is there already, made from the same data by
    the same settings, it is left. Raises InputError and FormatError.
    """
    output, names = Path(settings.output), output_names(settings.data)

    def write(draft: Path) -> dict[str, Any]:
        skips, lost, place = SkipReport(), Counter[str](), 0
        kept = _kept(settings, skips, lost)
        for name, path in names.items():
            records = list(records_of(path, settings, skips=SkipReport()))
            chosen = kept[place : place + len(records)].nonzero()[0].tolist()
            place += len(records)
            write_records(draft / name, (records[number] for number in chosen), like=path)
        counts = {"records": place, "kept": int(kept.sum()), "left out": skips.counts + lost}
        return {"report": counts}

    made_of = {"settings": as_table(settings), "inputs": checksums(settings.data)}
    made_once(output, made_of, write)
    return tuple(output / name for name in names)


def _kept(settings: SampleSettings, skips: SkipReport, lost: Counter[str]) -> NDArray[np.int64]:
    """Return, for every record of all inputs in order, whether it is kept."""
    sources = [
        row_of(record, source=plain_source(path.name)).source
        for path in map(Path, settings.data)
        for record in records_of(path, settings, skips=skips, lost=lost)
    ]
    weights = row_weights(sources, settings.weights)
    if settings.most is not None and weights.sum() > settings.most:
        weights *= settings.most / weights.sum()
    return uses(weights, rng=np.random.default_rng((settings.seed, 3)))
