"""`run("rank", …)` runs the command line in this process and returns what came out."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from corom.cli import main
from corom.models.checkpoint import Checkpoint


class Done(NamedTuple):
    code: int
    out: str
    err: str

    def refuses(self, said: str, *, code: int = 2) -> bool:
        """Whether it ended with this exit code and said so."""
        return self.code == code and said in self.err


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    def run(*arguments: object, stdin: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main([str(argument) for argument in arguments])
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture
def on(model: Path) -> tuple[object, ...]:
    """The flags of the tiny model, in the precision whose vectors are the same everywhere."""
    return ("-m", model, "--precision", "fp32")


@pytest.fixture
def model(tiny_checkpoint: Callable[..., Checkpoint]) -> Path:
    return tiny_checkpoint().folder
