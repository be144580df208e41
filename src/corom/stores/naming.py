"""What a load calls what it makes, before the index's own name points to it."""

from __future__ import annotations

import hashlib
import json

from corom.index.spec import IndexSpec


def build_name(name: str, spec: IndexSpec, *, folded: bool = False) -> str:
    """Return the name of the collection or table that holds `spec` for the index `name`.

    The same index of the same corpus has the same name, so a load finds what a killed one left;
    any other has another, so a new load leaves alone what is searched meanwhile. `folded`: in small
    letters only; of names that differ in nothing else, the digits do.
    """
    value = {**spec.as_json(), "model": ""}
    if folded and name != name.lower():
        name, value["name"] = name.lower(), name
    text = json.dumps(value, sort_keys=True)
    return f"{name}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
