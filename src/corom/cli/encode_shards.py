"""`corom encode … --out FOLDER`: many files to a folder of shards."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corom import __version__
from corom.cli.console import counted, note, say, say_json
from corom.cli.progress import progress_bar

if TYPE_CHECKING:
    from corom.encoder import Encoder, Progress
    from corom.sharding.encoding import EncodedShards
    from corom.sharding.spec import ShardSpec


def encode_folder(
    source: str,
    out: Path,
    encoder: Encoder,
    *,
    device: str,
    workers: int | None,
    ray: bool,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - those of spec_of
) -> None:
    """Encode `source` into the folder `out`, show how it goes and print what there is then."""
    from corom.engines.processor import available_threads
    from corom.sharding.encoding import encode_shards, spec_of

    spec = replace(spec_of(encoder, **options), corom=__version__)
    del encoder  # the workers load their own
    if workers is None:
        workers = max(1, available_threads() // spec.threads) if device == "auto" else 1
    started = time.perf_counter()
    with progress_bar(None) as meter:
        encoding = False

        def show(progress: Progress, total: int) -> None:
            nonlocal encoding
            if not encoding:  # what the bar showed until now was reading
                meter.expect(total, done=progress.done)
                encoding = True
            meter(progress)

        done = encode_shards(
            source,
            out,
            spec=spec,
            workers=workers,
            on="ray" if ray else "processes",
            device=device,
            reading=meter.count,
            progress=show,
        )
    _tell(out, spec, done, workers, seconds=time.perf_counter() - started, as_json=as_json)


def _tell(
    out: Path,
    spec: ShardSpec,
    done: EncodedShards,
    workers: int,
    *,
    seconds: float,
    as_json: bool,
) -> None:
    rows, shards = len(done.vectors), done.vectors.plan.tasks
    if as_json:
        say_json(
            {
                "out": out,
                "shape": (rows, spec.dim),
                "model": spec.model,
                "fingerprint": spec.fingerprint,
                "shards": len(shards),
                "encoded": done.encoded,
                "workers": workers,
                "seconds": round(seconds, 3),
            }
        )
        return
    rate = f"{done.encoded / seconds:,.0f} a second by {counted(workers, 'worker')}"
    now = f"{counted(done.encoded, 'text')} in {seconds:,.1f} s ({rate})"
    note(f"{now}; {rows - done.encoded:,} before")
    say(f"{out}: {rows:,} x {spec.dim} {spec.vector_type} in {counted(len(shards), 'shard')}")
