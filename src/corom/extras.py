"""Optional dependencies, imported where they are used by a function that names the extra."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from corom.errors import MissingExtraError


def need(module: str, *, extra: str) -> ModuleType:
    """Return the imported `module`, or raise MissingExtraError naming the extra that brings it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        # A broken dependency *inside* the module is its own story: tell that one.
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise MissingExtraError(
            f"{module} is not installed; install it with: pip install 'corom[{extra}]'"
        ) from None
