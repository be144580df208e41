"""What several tests of indexes begin with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from corom.encoder import Encoder
from corom.index import ann, scan, vector_index


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make few passages many blocks, samples and segments."""
    monkeypatch.setattr(scan, "BLOCK", 128)
    monkeypatch.setattr(scan, "_RUN", 4)
    monkeypatch.setattr(ann, "LEAST", 600)
    monkeypatch.setattr(vector_index, "_FEW", 0)


@pytest.fixture
def model(tiny_checkpoint: Callable) -> Path:
    return tiny_checkpoint().folder


@pytest.fixture
def encoder(model: Path) -> Encoder:
    return Encoder.load(model, precision="fp32")
