"""What the server is told once, at its start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from corom.checks import require_whole
from corom.errors import InputError

LOOPBACK = ("127.0.0.1", "localhost", "::1")

# Limits of one request. They are part of the API's description, so they do not change with flags.
MAX_BODY_BYTES = 4 << 20
MAX_TEXTS = 2048
"""What OpenAI's API takes and its clients send at most."""
MAX_CHARACTERS = 8192
"""Of one text; the model reads the first `max_length` tokens of it."""
MAX_TOKENS = 300_000
"""Of all texts of a request together, after cutting each to `max_length`."""
MAX_MATRIX = 512
"""Texts whose scores with one another are given: 5 MB of numbers."""


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """Where the server listens and how much it takes on."""

    host: str = "127.0.0.1"
    port: int = 8000
    """0 takes a free one"""
    names: tuple[str, ...] = ()
    """what clients may call the model, the first of them in answers; none: as its folder is called
    """
    keys_file: Path | None = None
    """names and hashes of API keys, see `keys`; without it only this machine is answered"""
    timeout_s: float = 30.0
    """from a request's headers to its answer, else 504; whoever the model would not serve in half
    that time is told 429 at once; the headers, and the reading of 64 KiB, may take as long"""
    max_wait_s: float = 3.0
    """until the model would begin with a request; who would wait longer is told 429 at once"""
    max_requests: int = 256
    """being worked on or waiting; further ones are told 429"""
    max_queued_tokens: int = 500_000
    """waiting for the model, of all requests together; beyond it 429"""
    max_held_bytes: int = 64 << 20
    """of request bodies in memory; beyond it 429"""
    drain_s: float = 30.0
    """after SIGTERM: how long accepted requests may take to finish"""

    def __post_init__(self) -> None:
        if not all(self.names):
            raise InputError("a name for the model is empty")
        if self.keys_file is None and self.host not in LOOPBACK:
            raise InputError(
                f"host {self.host} is open to other machines: make an API key first (--keys FILE), "
                "or leave out --host"
            )
        require_whole("port", self.port, low=0, high=65_535)
        for name in ("max_requests", "max_queued_tokens", "max_held_bytes"):
            require_whole(name, getattr(self, name))
        for name in ("timeout_s", "max_wait_s", "drain_s"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0, not {getattr(self, name)!r}")
