"""What test_evaluation_kill.py runs in a process it kills: imported by its name, so no test."""

from __future__ import annotations

import os
import sys
from multiprocessing.connection import Connection
from pathlib import Path

from corom.cli import main
from corom.evaluation import kept


def run(arguments: list[str], ready: Connection) -> None:
    """Run the command line on parts of four texts, silently."""
    kept.SHARD = 4
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
    ready.send_bytes(b"ready")
    sys.exit(main(arguments))
