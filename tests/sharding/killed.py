"""What test_killed.py runs in a process it kills: imported by its name, so no test."""

from __future__ import annotations

from pathlib import Path

from corom.sharding import ShardSpec, encode_shards


def run(source: str, folder: Path, spec: ShardSpec, workers: int) -> None:
    """Encode `source` into `folder`."""
    encode_shards(source, folder, spec=spec, workers=workers)
