"""`corom doctor`: what is there and whether it works."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Annotated, Any

import typer

from corom import __version__
from corom.cli import flags
from corom.cli.console import say, say_json
from corom.errors import CoromError

_VARIABLES = (
    *("COROM_CACHE", "COROM_OFFLINE", "HF_HUB_OFFLINE", "HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT"),
    *("MODELSCOPE_CACHE", "MODELSCOPE_ENDPOINT"),
)
# What makes matrix products of bf16 and int8 quick.
_FLAGS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")

Facts = dict[str, Any]


def command(
    model: flags.Model = "corom-medical",
    index: Annotated[
        Path | None, typer.Option("--index", "-i", help="Check the index in this folder too.")
    ] = None,
    as_json: flags.Json = False,
) -> None:
    """Check packages, chip, model and index.

    Says what is installed, what the chip can do, and whether every byte of a model folder and of
    an index is what it was when written; the exit code is 1 if not.
    """
    facts: Facts = {
        "corom": __version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "packages": _packages(),
        "chip": _chip(),
        "torch": _torch(),
        "environment": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        "model": _checked(_model, model),
    }
    if index is not None:
        facts["index"] = _checked(_index, str(index))
    sound = all("problem" not in part for part in facts.values())
    if as_json:
        say_json({"sound": sound, **facts})
    else:
        for name, part in facts.items():
            say(f"{name}: {_shown(part)}")
        say("everything is in order" if sound else "something is wrong, see above")
    if not sound:
        raise typer.Exit(1)


def _shown(part: object) -> str:
    if not isinstance(part, dict):
        return str(part)
    return "".join(f"\n  {name}: {value}" for name, value in part.items()) or "nothing set"


def _packages() -> Facts:
    """Return the version of every package corom can use; of an absent one, what installs it."""
    found: Facts = {}
    try:
        wanted = requires("corom") or []
    except PackageNotFoundError:  # run from its source folder
        wanted = ["numpy", "openvino", "safetensors", "tokenizers", "typer"]
    for line in wanted:  # such as: scikit-learn>=1.6; extra == 'cluster'
        name, *rest = re.findall(r"[\w.-]+", line)
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found.setdefault(name, f"not installed; pip install 'corom[{rest[-1]}]' brings it")
    return found


def _chip() -> Facts:
    from corom.engines.native_engine import drawback
    from corom.engines.processor import available_threads, has_bf16

    reason = drawback()
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    name = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return {
        "name": name[1] if name else platform.processor() or platform.machine(),
        "threads": available_threads(),
        "features": " ".join(flag for flag in _FLAGS if f" {flag} " in text) or "none known",
        "auto precision of full weights": "bf16" if has_bf16() else "fp32",
        "int8": f"openvino: {reason}" if reason else "corom's own kernels",
    }


def _torch() -> str:
    try:
        import torch
    except ImportError:
        return "not installed: no GPU, no training, no pytorch_model.bin"
    count = torch.cuda.device_count()
    devices = ", ".join(torch.cuda.get_device_name(number) for number in range(count))
    return f"{torch.__version__}, {devices or 'no CUDA device'}"


def _checked(check: Callable[[str], Facts], name: str) -> Facts:
    try:
        return check(name)
    except CoromError as error:
        return {"name": name, "problem": str(error)}


def _model(name: str) -> Facts:
    """Check every byte a manifest vouches for, and that the model computes."""
    import numpy as np

    from corom.encoder import Encoder
    from corom.errors import ArtifactError
    from corom.files import MANIFEST, check_manifest
    from corom.models.checkpoint import load_checkpoint
    from corom.models.names import resolve

    folder = resolve(name, download=False)
    check_manifest(folder, missing_ok=True)
    checkpoint = load_checkpoint(folder, name=name)
    encoder = Encoder(checkpoint)
    if not np.isfinite(encoder.encode_queries(["上消化道出血手术大约多久"])).all():
        raise ArtifactError(f"{folder} gives vectors that are not finite")
    fidelity = checkpoint.fidelity
    return {
        "name": name,
        "folder": folder,
        "fingerprint": checkpoint.fingerprint,
        "shape": f"{checkpoint.describe()}, {checkpoint.shape.vocabulary:,} tokens",
        "encoding": checkpoint.encoding.describe(),
        "runs": f"{encoder.precision} on {encoder.engine}",
        "int8": fidelity.advice() if fidelity else "no int8 form",
        "checksums": "all right" if (folder / MANIFEST).is_file() else "none to check against",
    }


def _index(name: str) -> Facts:
    from corom.index import open_index

    index = open_index(Path(name))
    return {
        "name": name,
        "passages": f"{len(index):,}",
        "kind": index.spec.options.kind,
        "keeps": ", ".join(index.spec.keep) or "no other columns",
        "model": index.spec.model,
        "fingerprint": index.spec.fingerprint or "words have none",
        "checksums": "all right",
    }
