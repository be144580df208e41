"""What test_cli_index_kill.py runs in a process it kills: imported by its name, so no test."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from multiprocessing.connection import Connection
from pathlib import Path

from corom.cli import main
from corom.index import building


def run(arguments: list[str], ready: Connection) -> None:
    """Run the command line on parts of four passages, silently."""
    building._CHUNK = 4
    ready.send_bytes(b"ready")
    with Path(os.devnull).open("w") as silence, redirect_stdout(silence):
        code = main(arguments)
    sys.exit(code)
