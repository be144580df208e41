"""The shards of a job on a Ray cluster, by Ray Data (extra `ray`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from corom.errors import ArtifactError, CoromError
from corom.extras import need
from corom.sharding.plan import ShardTask
from corom.sharding.shards import Receipt, read_receipt
from corom.sharding.worker import Job, ShardEncoder


class _Actor:
    """A model that stays loaded while Ray sends it shard after shard."""

    def __init__(self, job: Job) -> None:
        self._job, self._encoder = job, ShardEncoder(job)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        task = self._job.plan.tasks[row["number"]]
        return {"number": self._encoder.encode(task).number}


def run_ray(job: Job, tasks: Sequence[ShardTask], *, workers: int) -> Iterator[Receipt]:
    """Yield the receipt of every task, as `run_processes` does, from `workers` actors.

    The cluster is the one `ray.init` finds: `RAY_ADDRESS`, or one on this machine. A node that is
    lost costs the shards it was at; Ray starts its actors elsewhere and hands those out again.
    """
    if not tasks:
        return
    ray = need("ray", extra="ray")
    data = need("ray.data", extra="ray")
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    data.DataContext.get_current().enable_progress_bars = False
    rows = [{"number": task.number} for task in tasks]
    # A block per shard: whoever is free takes the next one.
    mapped = data.from_items(rows, override_num_blocks=len(rows)).map(
        _Actor,
        fn_constructor_args=(job,),
        # A shard in hand and none in reserve: a reserve leaves others idle at the end, and the next
        # one comes in milliseconds.
        compute=data.ActorPoolStrategy(
            size=min(workers, len(tasks)), max_tasks_in_flight_per_actor=1
        ),
        num_cpus=job.spec.threads,
    )
    by_number = {task.number: task for task in tasks}
    try:
        for row in mapped.iter_rows():
            yield _receipt(job, by_number[row["number"]])
    except ray.exceptions.RayError as error:
        raise _cause(error) from error


def _receipt(job: Job, task: ShardTask) -> Receipt:
    receipt = read_receipt(job.folder, task)
    if receipt is None:
        raise ArtifactError(
            f"shard {task.number} was written, but not into {job.folder} as this machine sees it; "
            "--out must be a folder that all nodes of the cluster share"
        )
    return receipt


def _cause(error: BaseException) -> CoromError:
    """Return our own error below what Ray made of it."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, CoromError):
        found = getattr(found, "cause", None) or found.__cause__
    return found or CoromError(f"Ray could not go on ({type(error).__name__})")
