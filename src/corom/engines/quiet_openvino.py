"""OpenVINO, imported without its telemetry.

`import openvino` tells Google Analytics that it was imported, under an id that it keeps in ~/intel,
unless somebody opted out. It has a stub for where its package `openvino_telemetry` is not
installed; so here that cannot be imported for as long as the import takes (docs/privacy.md).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import cast

__all__ = ["op", "ov"]


@contextmanager
def _without(name: str) -> Iterator[None]:
    """Let the import of a module fail, as if it were not installed."""
    before = sys.modules.get(name)
    sys.modules[name] = cast("ModuleType", None)
    try:
        yield
    finally:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before


with _without("openvino_telemetry"):
    import openvino as ov
    from openvino import opset13 as op
