"""Encoding shard by shard: the same bits however many work, whoever is killed."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corom.encoder import Encoder, Progress
from corom.errors import ArtifactError, CoromError, InputError, MissingExtraError
from corom.models.checkpoint import Checkpoint
from corom.sharding import ShardSpec, encode_shards, open_shards, pool
from corom.sharding.encoding import spec_of
from corom.sharding.worker import Job, ShardEncoder
from sharding.corpora import PASSAGES, write_corpus


@pytest.fixture
def spec(tiny_checkpoint: Callable[..., Checkpoint]) -> ShardSpec:
    model = str(tiny_checkpoint().folder)
    encoder = Encoder.load(model, precision="fp32")
    return spec_of(encoder, model=model, normalize=True, truncate_dim=16, rows=7)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_any_number_of_workers_gives_the_same_bits(spec: ShardSpec, tmp_path: Path) -> None:
    source = str(write_corpus(tmp_path / "c.jsonl"))
    told: list[tuple[Progress, int]] = []
    one = encode_shards(source, tmp_path / "one", spec=spec)
    encode_shards(
        source, tmp_path / "two", spec=spec, workers=2, progress=lambda *now: told.append(now)
    )
    found = contents(tmp_path / "one")
    assert found == contents(tmp_path / "two")
    names = (f"ids-{n:06d}.jsonl vectors-{n:06d}.npy" for n in range(6))
    assert set(found) == {".lock", "manifest.json", *" ".join(names).split()}
    assert (one.encoded, one.shards, len(one.vectors)) == (40, 6, 40)
    assert told[-1][0].done == told[-1][1] == 40
    shards = list(one.vectors.shards())
    assert [id_ for shard in shards for id_ in shard.ids] == [p.id for p in PASSAGES]
    encoder = Encoder.load(spec.model, precision="fp32")
    expected = encoder.encode_passages(
        [p.content for p in PASSAGES], normalize=True, truncate_dim=16
    )
    found_vectors = np.concatenate([shard.vectors for shard in shards])
    np.testing.assert_allclose(found_vectors, expected, atol=1e-5)
    assert [p for part, _ in one.vectors.with_passages() for p in part] == PASSAGES


@pytest.mark.parametrize(
    ("container", "on", "extra"), [("parquet", "processes", "parquet"), ("npy", "ray", "ray")]
)
def test_what_is_not_installed_is_told_before_a_folder_is_made(
    container: Any,
    on: Any,
    extra: str,
    spec: ShardSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("pyarrow", "ray"):
        monkeypatch.setitem(sys.modules, module, None)  # as if it were not there
    source, asked = str(write_corpus(tmp_path / "c.jsonl")), replace(spec, container=container)
    with pytest.raises(MissingExtraError, match=rf"corom\[{extra}\]"):
        encode_shards(source, tmp_path / "shards", spec=asked, on=on)
    assert not (tmp_path / "shards").exists()


def test_goes_on_where_it_stopped(spec: ShardSpec, tmp_path: Path) -> None:
    source = str(write_corpus(tmp_path / "c.jsonl"))
    encode_shards(source, tmp_path / "whole", spec=spec)

    class StopError(Exception):
        pass

    def stop(done: Progress, _: int) -> None:
        if done.done >= 21:  # of which up to 7 are of a shard that is not whole yet
            raise StopError

    folder = tmp_path / "stopped"
    with pytest.raises(StopError):
        encode_shards(source, folder, spec=spec, progress=stop)
    with pytest.raises(ArtifactError, match="no finished vectors"):
        open_shards(folder)
    damaged = folder / "vectors-000000.npy"
    damaged.write_bytes(damaged.read_bytes()[:-4])
    (folder / ".vectors-000001.npy.abc.part").write_bytes(b"what a killed worker left")
    plan = json.loads((folder / "plan.json").read_text())
    (folder / "plan.json").write_text(json.dumps({**plan, "spec": None}))
    with pytest.raises(ArtifactError, match="cannot read"):
        encode_shards(source, folder, spec=spec)
    (folder / "plan.json").write_text(json.dumps(plan))
    again = encode_shards(source, folder, spec=spec)
    assert again.encoded <= 40 - 7  # of two or more finished shards one was damaged
    assert again.shards < 6
    assert contents(folder) == contents(tmp_path / "whole")
    assert encode_shards(source, folder, spec=spec).encoded == 0


def test_another_encoding_is_refused(spec: ShardSpec, tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "c.jsonl")
    folder = tmp_path / "out"
    encode_shards(str(path), folder, spec=spec)
    with pytest.raises(ArtifactError, match="vector_type: 'float16' != 'float32'"):
        encode_shards(str(path), folder, spec=replace(spec, vector_type="float16"))
    other = write_corpus(tmp_path / "d.jsonl")
    with pytest.raises(ArtifactError, match="other files"):
        encode_shards(str(other), folder, spec=spec)
    write_corpus(path, PASSAGES[:9])
    with pytest.raises(ArtifactError, match="was changed since"):
        encode_shards(str(path), folder, spec=spec)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    with pytest.raises(ArtifactError, match=r"holds thesis\.txt"):
        encode_shards(str(other), tmp_path / "full", spec=spec)
    with pytest.raises(InputError, match="workers"):
        encode_shards(str(other), tmp_path / "new", spec=spec, workers=0)
    with pytest.raises(InputError, match="on 'cluster' is none of processes, ray"):
        encode_shards(str(other), tmp_path / "new", spec=spec, on="cluster")


def test_another_model_on_a_worker_is_refused(spec: ShardSpec, tmp_path: Path) -> None:
    source = str(write_corpus(tmp_path / "c.jsonl"))
    wrong = replace(spec, fingerprint="another")
    with pytest.raises(ArtifactError, match="put the same model everywhere"):
        encode_shards(source, tmp_path / "out", spec=wrong)


def test_a_shard_that_kills_its_workers_ends_the_work(
    spec: ShardSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = str(write_corpus(tmp_path / "c.jsonl"))
    monkeypatch.setattr(pool, "ATTEMPTS", 2)
    monkeypatch.setattr(pool, "serve", die)
    with pytest.raises(CoromError, match=r"shard 0: 2 workers ended .* exit code -9"):
        encode_shards(source, tmp_path / "out", spec=spec)


def test_at_the_end_only_what_was_made_here_is_removed(spec: ShardSpec, tmp_path: Path) -> None:
    source, folder = str(write_corpus(tmp_path / "c.jsonl")), tmp_path / "out"
    folder.mkdir()
    theirs = (".profile", "records-202511.jsonl")
    (folder / ".profile").write_bytes(b"theirs")
    (folder / ".ids-000003.jsonl.abcdefgh.part").write_bytes(b"a killed worker's")

    def put(done: Progress, _: int) -> None:
        (folder / "records-202511.jsonl").write_bytes(b"theirs")

    encode_shards(source, folder, spec=spec, progress=put)
    names = (f"ids-{n:06d}.jsonl vectors-{n:06d}.npy" for n in range(6))
    assert set(contents(folder)) == {".lock", "manifest.json", *theirs, *" ".join(names).split()}
    assert {(folder / name).read_bytes() for name in theirs} == {b"theirs"}


def die(connection: object, job: Job, worker: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_no_passages(spec: ShardSpec, tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_bytes(b"")
    done = encode_shards(str(tmp_path / "c.jsonl"), tmp_path / "out", spec=spec)
    assert (len(done.vectors), list(done.vectors.shards())) == (0, [])


def test_damage_is_noticed(spec: ShardSpec, tmp_path: Path) -> None:
    source = str(write_corpus(tmp_path / "c.jsonl"))
    folder = tmp_path / "out"
    encode_shards(source, folder, spec=spec)
    manifest = json.loads((folder / "manifest.json").read_text())
    for wrong, what in (
        ({"corom": "index"}, "no vectors"),
        ({"format": 9}, "format 9"),
        ({"files": []}, "no manifest"),
        ({"spec": None}, "cannot read"),
        ({"tasks": None}, "no plan"),
        ({"shards": {}}, "files of 6 shards"),
        ({"shards": manifest["shards"][1:]}, "files of 6 shards"),
    ):
        (folder / "manifest.json").write_text(json.dumps({**manifest, **wrong}))
        with pytest.raises(ArtifactError, match=what):
            open_shards(folder)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    path = folder / "vectors-000002.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(ArtifactError, match=r"vectors-000002\.npy is corrupt"):
        open_shards(folder)
    path.unlink()
    with pytest.raises(ArtifactError, match=r"vectors-000002\.npy is missing"):
        open_shards(folder, deep=False)


def test_links_are_sources(spec: ShardSpec, tmp_path: Path) -> None:
    """As in the cache of Hugging Face: the file that a link leads to has no ending."""
    blob = write_corpus(tmp_path / "c.jsonl.gz").rename(tmp_path / "0f3a")
    link = tmp_path / "link.jsonl.gz"
    link.symlink_to(blob)
    done = encode_shards(str(link), tmp_path / "out", spec=spec)
    assert [p for part, _ in done.vectors.with_passages() for p in part] == PASSAGES
    assert encode_shards(str(link), tmp_path / "out", spec=spec).encoded == 0
    write_corpus(link, PASSAGES[:5])
    with pytest.raises(ArtifactError, match="was changed"):
        encode_shards(str(link), tmp_path / "out", spec=spec)


def test_files_of_lines_are_told_apart(spec: ShardSpec, tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt.gz"):
        write_corpus(tmp_path / name, PASSAGES[:9])
    done = encode_shards(str(tmp_path / "*.txt*"), tmp_path / "out", spec=spec)
    found = [p.id for part, _ in done.vectors.with_passages() for p in part]
    assert found == [f"{name}:{n}" for name in ("a.txt", "b.txt.gz") for n in range(1, 10)]


@pytest.mark.filterwarnings("default")  # Ray's own
def test_on_ray_the_bits_are_the_same(spec: ShardSpec, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    source = str(write_corpus(tmp_path / "c.jsonl"))
    encode_shards(source, tmp_path / "here", spec=spec)
    done = encode_shards(source, tmp_path / "ray", spec=spec, workers=2, on="ray")
    assert done.encoded == 40
    assert contents(tmp_path / "here") == contents(tmp_path / "ray")


def test_in_this_process(spec: ShardSpec, tmp_path: Path) -> None:
    source = str(write_corpus(tmp_path / "c.jsonl"))
    whole = encode_shards(source, tmp_path / "whole", spec=spec).vectors
    (tmp_path / "here").mkdir()
    encoder = ShardEncoder(Job(tmp_path / "here", whole.plan, spec))
    receipt = encoder.encode(whole.plan.tasks[3])
    for name in receipt.files:
        assert (tmp_path / "here" / name).read_bytes() == (whole.folder / name).read_bytes()
