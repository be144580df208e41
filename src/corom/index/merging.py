"""Many small segments made one, so that few files are open however often passages came.

A segment keeps up to six files open, and many systems allow a process 1,024. Whenever FAN
segments side by side are of one size, by powers of FAN, they are copied into one of the next size.
Ten million passages, added 4,096 at a time, end in at most 45 segments, and each was copied at
most three times. What is merged depends only on the sizes, so a killed build that goes on ends
with the same files.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from corom.files import atomic_write
from corom.index.segments import Segment, segment_file, write_array

FAN = 16
"""segments of one size that become one"""


def mergeable(sizes: Sequence[int]) -> slice | None:
    """Return which neighbours should become one segment, if any; `sizes` are their passages.

    At least FAN that are all of one tier or below it, and of a higher one together.
    """
    tiers = [_tier(size) for size in sizes]
    for tier in sorted(set(tiers)):
        start = 0
        for low, run in groupby(each <= tier for each in tiers):
            stop = start + len(list(run))
            if low and stop - start >= FAN and _tier(sum(sizes[start:stop])) > tier:
                return slice(start, stop)
            start = stop
    return None


def _tier(size: int) -> int:
    tier = 0
    while size >= FAN:
        size, tier = size // FAN, tier + 1
    return tier


def join_segments(
    folder: Path, segments: Sequence[Segment], numbers: Sequence[int], *, into: int
) -> list[str]:
    """Write the files of one segment that holds `segments`, whose numbers are `numbers`.

    Returns their names, fsynced; nothing lists them yet. Holds nothing but ids and offsets in
    memory.
    """
    names = [segment_file("texts", into)]
    ends = [0]
    with atomic_write(folder / names[0]) as file:
        for number in numbers:
            with (folder / segment_file("texts", number)).open("rb") as part:
                shutil.copyfileobj(part, file)
            ends.append(file.tell())
    offsets = [
        np.load(folder / segment_file("offsets", number), allow_pickle=False)[:-1] + begin
        for number, begin in zip(numbers, ends, strict=False)
    ]
    parts = {
        "offsets": [*offsets, np.array(ends[-1:])],
        **{name: [each.arrays()[name] for each in segments] for name in segments[0].arrays()},
    }
    for name, arrays in parts.items():
        names.append(segment_file(name, into))
        write_array(folder / names[-1], *arrays)
    return names
