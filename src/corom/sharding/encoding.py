"""The driver of a sharded encoding: plan, hand out what is missing, put the manifest last."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, get_args

from corom.checks import require_one_of, require_whole
from corom.encoder import Encoder, Progress
from corom.errors import ArtifactError
from corom.extras import need
from corom.files import LOCK, MANIFEST, writer_lock
from corom.index.spec import differences
from corom.models import lasting_name
from corom.sharding.folder import ShardedVectors, open_shards, write_vectors_manifest
from corom.sharding.plan import Plan, ShardTask, make_plan, read_plan, write_plan
from corom.sharding.pool import run_processes
from corom.sharding.shards import Receipt, read_receipt
from corom.sharding.sources import current_stamp, find_sources
from corom.sharding.spec import ROWS, Container, ShardSpec, ShardType
from corom.sharding.worker import Job

PLAN = "plan.json"
# What may be swept away: what is written here, and drafts of atomic_write.
_MADE = (
    r"(plan|receipt-\d{6,})\.json|(vectors|scales)-\d{6,}\.npy|ids-\d{6,}\.jsonl"
    r"|shard-\d{6,}\.parquet"
)
_OURS = re.compile(rf"{_MADE}|\.({_MADE}|manifest\.json)\..+\.part")
Runner: TypeAlias = Literal["processes", "ray"]


class EncodedShards(NamedTuple):
    """What one call did."""

    vectors: ShardedVectors
    encoded: int
    """passages encoded by this call; the others were there already"""
    shards: int
    """shards encoded by this call"""


def spec_of(
    encoder: Encoder,
    *,
    model: str,
    normalize: bool | None = None,
    truncate_dim: int | None = None,
    side: Literal["query", "passage"] = "passage",
    container: Container = "npy",
    vector_type: ShardType = "float32",
    rows: int = ROWS,
    threads: int = 1,
) -> ShardSpec:
    """Return the spec of what `encoder`, loaded as `model`, would write."""
    dim = encoder.dim if truncate_dim is None else truncate_dim
    require_whole("truncate_dim", dim, high=encoder.dim)
    return ShardSpec(
        model=lasting_name(model),
        fingerprint=encoder.fingerprint,
        engine=encoder.engine,
        precision=encoder.precision,
        max_length=encoder.max_length,
        dim=dim,
        normalized=encoder.encoding.normalize if normalize is None else normalize,
        side=side,
        threads=threads,
        container=container,
        vector_type=vector_type,
        rows=rows,
    )


def encode_shards(
    source: str,
    folder: Path,
    *,
    spec: ShardSpec,
    workers: int = 1,
    on: Runner = "processes",
    device: str = "auto",
    reading: Callable[[int], None] | None = None,
    progress: Callable[[Progress, int], None] | None = None,
) -> EncodedShards:
    """Encode what `source` names into `folder` and return what is there now.

    Killed, whoever of the processes, the same call goes on: at most the shards at work are lost.
    A finished folder is left as it is. `on` "ray" spreads the shards over a Ray cluster whose
    nodes share `folder` and can read the sources (extra `ray`). `reading` is told how many
    passages are checked, `progress` what is done (earlier calls included) and how many there are
    in all. Raises InputError, FormatError for the input; ArtifactError for a folder made with
    another spec or from another input, or in use; MissingExtraError; what workers raise.
    """
    folder = Path(folder)
    require_whole("workers", workers)
    require_one_of("on", on, get_args(Runner))
    _require_extras(spec, on)
    folder.mkdir(parents=True, exist_ok=True)
    with writer_lock(folder):
        if (folder / MANIFEST).is_file():
            done = open_shards(folder)
            _require_same(folder, spec, done.spec)
            _require_unchanged(folder, done.plan, source)
            return EncodedShards(done, 0, 0)
        plan = _plan(folder, source, spec, reading)
        receipts = {t.number: r for t in plan.tasks if (r := read_receipt(folder, t)) is not None}
        missing = [task for task in plan.tasks if task.number not in receipts]
        job = Job(folder, plan, spec, device)
        _encode(job, missing, receipts, workers=workers, on=on, progress=progress)
        _finish(folder, plan, spec, [receipts[task.number] for task in plan.tasks])
    encoded = sum(task.rows for task in missing)
    return EncodedShards(open_shards(folder, deep=False), encoded, len(missing))


def _require_extras(spec: ShardSpec, on: Runner) -> None:
    """Refuse what is not installed before a plan is left that binds the folder to it."""
    if spec.container == "parquet":
        need("pyarrow", extra="parquet")
    if on == "ray":
        need("ray", extra="ray")


def _plan(
    folder: Path, source: str, spec: ShardSpec, reading: Callable[[int], None] | None
) -> Plan:
    """Return the plan a killed call left, or a new one."""
    path = folder / PLAN
    if path.is_file():
        plan, value = read_plan(path)
        _require_same(folder, spec, ShardSpec.from_json(value))
        _require_unchanged(folder, plan, source)
        return plan
    if leftovers := [each.name for each in folder.iterdir() if not each.name.startswith(".")]:
        raise ArtifactError(
            f"{folder} holds {min(leftovers)}, which is no encoding; choose another folder"
        )
    plan = make_plan(find_sources(source), rows=spec.rows, progress=reading)
    write_plan(plan, path, spec=spec.as_json())
    return plan


def _require_same(folder: Path, wanted: ShardSpec, found: ShardSpec) -> None:
    if different := differences(wanted, found):
        raise ArtifactError(
            f"{folder} holds another encoding ({'; '.join(different)}); remove it or choose "
            "another folder"
        )


def _require_unchanged(folder: Path, plan: Plan, source: str) -> None:
    found = find_sources(source)
    if [each.url for each in found] != [each.url for each in plan.sources]:
        raise ArtifactError(f"{folder} was begun with other files; choose another folder")
    for each in plan.sources:
        if each.stamp != current_stamp(each):
            raise ArtifactError(
                f"{each.url} was changed since {folder} was begun; choose another folder"
            )


def _encode(
    job: Job,
    missing: Sequence[ShardTask],
    receipts: dict[int, Receipt],
    *,
    workers: int,
    on: Runner,
    progress: Callable[[Progress, int], None] | None,
) -> None:
    """Encode the missing shards and put their receipts beside those that are there."""
    done = reduce(_with, receipts.values(), Progress(0, 0, 0))

    def show(part: int) -> None:
        if progress:
            progress(done._replace(done=done.done + part), job.plan.rows)

    show(0)
    if on == "ray":
        from corom.sharding.on_ray import run_ray

        found = run_ray(job, missing, workers=workers)
    else:
        found = run_processes(job, missing, workers=workers, show=show)
    for receipt in found:
        receipts[receipt.number] = receipt
        done = _with(done, receipt)
        show(0)


def _with(done: Progress, receipt: Receipt) -> Progress:
    """Return what is done with a shard more."""
    rows, truncated, tokens = done
    return Progress(rows + receipt.rows, truncated + receipt.truncated, tokens + receipt.tokens)


def _finish(folder: Path, plan: Plan, spec: ShardSpec, receipts: Sequence[Receipt]) -> None:
    """Put the manifest in place and sweep away what was needed until then."""
    write_vectors_manifest(folder, plan, spec, receipts)
    kept = {MANIFEST, LOCK, *(name for receipt in receipts for name in receipt.files)}
    for path in folder.iterdir():
        if path.name not in kept and _OURS.fullmatch(path.name):
            path.unlink()
