"""One shard on disk: every container and type, whole or encoded again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from corom.errors import ArtifactError, InputError
from corom.index.spec import differences
from corom.sharding.plan import ShardTask
from corom.sharding.shards import read_receipt, read_shard, write_shard
from corom.sharding.sources import Place
from corom.sharding.spec import ShardSpec

SPEC = ShardSpec(
    model="m",
    fingerprint="f",
    engine="openvino",
    precision="fp32",
    max_length=16,
    dim=8,
    normalized=True,
)
TASK = ShardTask(3, 0, Place(), 4, "d")
IDS = ["1", "a b", '"\n', "中"]
VECTORS = np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)


@pytest.mark.parametrize("container", ["npy", "parquet"])
@pytest.mark.parametrize(("kept", "off"), [("float32", 0), ("float16", 1e-3), ("int8", 2e-2)])
def test_there_and_back(container: str, kept: str, off: float, tmp_path: Path) -> None:
    if container == "parquet":
        pytest.importorskip("pyarrow", reason="needs the extra parquet")
    spec = replace(SPEC, container=container, vector_type=kept)
    written = write_shard(tmp_path, TASK, IDS, VECTORS, spec=spec, truncated=1, tokens=9)
    assert read_receipt(tmp_path, TASK) == written
    ids, vectors = read_shard(tmp_path, sorted(written.files), dim=8)
    assert ids == IDS
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, VECTORS, atol=off)
    again = tmp_path / "again"
    assert write_shard(again, TASK, IDS, VECTORS, spec=spec, truncated=1, tokens=9) == written


@pytest.mark.parametrize("damage", ["shorter", "changed", "gone", "receipt", "empty receipt"])
def test_a_damaged_shard_has_no_receipt(damage: str, tmp_path: Path) -> None:
    write_shard(tmp_path, TASK, IDS, VECTORS, spec=SPEC, truncated=0, tokens=9)
    path, receipt = tmp_path / "vectors-000003.npy", tmp_path / "receipt-000003.json"
    data = path.read_bytes()
    if damage == "shorter":
        path.write_bytes(data[:-1])
    elif damage == "changed":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "gone":
        path.unlink()
    else:
        receipt.write_text("{" if damage == "receipt" else "{}")
    assert read_receipt(tmp_path, TASK) is None


def test_a_receipt_for_other_passages_does_not_count(tmp_path: Path) -> None:
    write_shard(tmp_path, TASK, IDS, VECTORS, spec=SPEC, truncated=0, tokens=9)
    assert read_receipt(tmp_path, TASK._replace(digest="other")) is None
    assert read_receipt(tmp_path, TASK._replace(number=4)) is None


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    half = replace(SPEC, vector_type="float16")
    with pytest.raises(InputError, match="float16"):
        write_shard(tmp_path, TASK, IDS, VECTORS * 1e6, spec=half, truncated=0, tokens=9)
    for wrong in (VECTORS[:, :3], VECTORS * np.float32(np.nan)):
        with pytest.raises(InputError):
            write_shard(tmp_path, TASK, IDS, wrong, spec=SPEC, truncated=0, tokens=9)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        *[({"container": "csv"}, "csv"), ({"vector_type": "int4"}, "int4")],
        *[({"rows": 0}, "rows is 0"), ({"side": "queries"}, "side 'queries' is none of query")],
    ],
)
def test_a_wrong_spec_is_refused(change: dict, what: str) -> None:
    with pytest.raises(InputError, match=what):
        replace(SPEC, **change)
    with pytest.raises(ArtifactError, match="cannot read"):
        ShardSpec.from_json({**SPEC.as_json(), **change})


def test_a_spec_there_and_back() -> None:
    assert ShardSpec.from_json(SPEC.as_json()) == SPEC
    assert differences(replace(SPEC, dim=4, model="elsewhere"), SPEC) == ["dim: 4 != 8"]
