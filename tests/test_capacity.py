from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from corom import capacity
from corom.capacity import LAYOUTS, Figures, Measured, figures, plan
from corom.errors import InputError


def run_of(layout: str, passages: int, **values: float) -> Measured:
    found = {
        "text_bytes": 100.0,
        "disk_bytes": passages * 1100.0,
        "memory_bytes": 5e7 + passages * 1000.0,
        "build_seconds": passages / 1e4,
        "queries_per_second": 1e8 / passages,
    }
    return Measured(layout, passages, 256, **{**found, **values})


KNOWN = Figures(
    tuple(run_of(layout, size) for layout in LAYOUTS for size in (50_000, 200_000)),
    texts_per_second_per_core=100.0,
    tokens_per_text=120.0,
    machine="a machine",
    cores=2,
    date="2026-01-01",
)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_largest_measured_size_comes_back(layout: str) -> None:
    """What was measured is what is planned, with the figures the package carries."""
    known = figures()
    if (pair := known.of(layout)) is None:
        pytest.skip(f"{layout} was not measured")
    run = pair[1]
    plans = (
        plan(run.passages, dim=run.dim, precision=precision)
        for precision in ("float32", "float16", "int8", "binary")
    )
    [*_, estimate] = [e for found in plans for e in found.layouts if e.layout == layout]
    for name in ("memory_bytes", "disk_bytes", "queries_per_second"):
        assert getattr(estimate, name) == pytest.approx(getattr(run, name), rel=0.01)
    assert estimate.build_hours * 3600 == pytest.approx(run.build_seconds, rel=0.01)


def test_every_figure_has_its_source() -> None:
    known = figures()
    assert {run.layout for run in known.runs} <= set(LAYOUTS)
    assert {name for name in LAYOUTS if known.of(name)} >= {"exact float32", "exact int8", "hnsw"}
    path = Path(capacity.__file__).parent / "bundled" / "capacity.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    assert value["command"].startswith("python benchmarks/bench_capacity.py")
    assert value["machine"]["cpu"]
    assert all(math.isfinite(value) for run in known.runs for value in run[1:])


def test_how_costs_grow() -> None:
    small, large = (plan(n, dim=256, known=KNOWN) for n in (1e6, 5e7))
    assert large.encode_hours == pytest.approx(50 * small.encode_hours)
    assert small.encode_hours == pytest.approx(1e6 / 200 / 3600)
    assert (small.shard_bytes, large.shard_bytes) == (1e6 * 1024, 5e7 * 1024)
    for less, more in zip(small.layouts, large.layouts, strict=True):
        assert less.layout == more.layout
        assert less.memory_bytes == pytest.approx(5e7 + 1e9)
        assert more.memory_bytes == pytest.approx(5e7 + 5e10)
        assert more.disk_bytes == pytest.approx(50 * less.disk_bytes)
        assert more.build_hours > 49 * less.build_hours
        assert more.queries_per_second < less.queries_per_second
    # A scan reads every vector: fifty times as many take fifty times as long.
    assert small.layouts[0].queries_per_second == pytest.approx(100)
    assert large.layouts[0].queries_per_second == pytest.approx(2)


def test_options() -> None:
    usual = plan(1e6, dim=256, known=KNOWN)
    wide = plan(1e6, dim=512, known=KNOWN)
    assert wide.shard_bytes == 2 * usual.shard_bytes
    exact = "exact float32"
    first, second = ({e.layout: e for e in p.layouts}[exact] for p in (usual, wide))
    assert second.memory_bytes - first.memory_bytes == pytest.approx(1e6 * 256 * 4)
    assert second.queries_per_second == pytest.approx(first.queries_per_second / 2)
    assert plan(1e6, dim=256, cores=4, known=KNOWN).encode_hours == usual.encode_hours / 2
    assert plan(1e6, dim=256, tokens=240, known=KNOWN).encode_hours == 2 * usual.encode_hours
    longer = plan(1e6, dim=256, text_bytes=1100, known=KNOWN)
    assert longer.layouts[0].disk_bytes - usual.layouts[0].disk_bytes == pytest.approx(1e9)
    assert plan(1e6, dim=256, precision="int8", known=KNOWN).shard_bytes == 256e6


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"passages": 0}, "passages is 0"),
        ({"passages": math.nan}, "passages is nan"),
        ({"passages": math.inf}, "passages is inf"),
        ({"dim": 0}, "dim is 0"),
        ({"cores": 0}, "cores is 0"),
        ({"tokens": -1}, "tokens is -1"),
        ({"text_bytes": -1}, "text_bytes is -1"),
        ({"precision": "int4"}, "'int4' is none of float32"),
    ],
)
def test_what_is_refused(changes: dict[str, object], what: str) -> None:
    options = {"passages": 1e6, "dim": 256, "known": KNOWN, **changes}
    with pytest.raises(InputError, match=what):
        plan(options.pop("passages"), **options)
