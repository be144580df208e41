"""Chinese medical text embeddings: encode, search, train, serve."""

from __future__ import annotations

__version__ = "0.1.0"
