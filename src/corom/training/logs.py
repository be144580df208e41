"""The log of a run: one JSON object a line, and TensorBoard's files when asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from corom.extras import need
from corom.files import write_bytes


class Log:
    """Appends figures to `log.jsonl` in a run's folder; numbers only, never text of the data.

    A resumed run first forgets the lines after the step it resumes from: they will come again.
    """

    def __init__(self, folder: Path, *, step: int, tensorboard: bool) -> None:
        self.path = folder / "log.jsonl"
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        kept = "".join(f"{line}\n" for line in lines if _step(line) <= step)
        write_bytes(self.path, kept.encode("utf-8"))
        self._writer: Any = None
        if tensorboard:
            need("tensorboard", extra="tensorboard")
            board = need("torch.utils.tensorboard", extra="train")
            self._writer = board.SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, **figures: float) -> None:
        """Append the figures of a step."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **figures}) + "\n")
        if self._writer is not None:
            for name, figure in figures.items():
                self._writer.add_scalar(name, figure, step)

    def close(self) -> None:
        """Finish TensorBoard's file."""
        if self._writer is not None:
            self._writer.close()


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except ValueError:
        return float("inf")  # a line cut short by the kill
