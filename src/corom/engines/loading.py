"""Which engine and which precision run a checkpoint."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path
from typing import get_args

from corom.checks import require_one_of, require_whole
from corom.engines.base import Engine, EngineName, Part, Precision
from corom.engines.projection import projected
from corom.engines.quantisation import RECIPE
from corom.environment import cache_folder
from corom.errors import ArtifactError, InputError
from corom.extras import need
from corom.files import atomic_folder, check_manifest
from corom.models.checkpoint import Checkpoint
from corom.models.int8 import Int8Weights, read_int8, save_int8
from corom.models.weights import INT8


def open_engine(
    checkpoint: Checkpoint,
    *,
    engine: EngineName = "auto",
    precision: Precision = "auto",
    threads: int | None = None,
    device: str = "auto",
) -> Engine:
    """Return the engine that fits: see `Encoder.load` for what `auto` means."""
    require_one_of("engine", engine, get_args(EngineName))
    require_one_of("precision", precision, get_args(Precision))
    if threads is not None:
        require_whole("threads", threads)
    found = _open(checkpoint, engine=engine, precision=precision, threads=threads, device=device)
    return projected(found, checkpoint.dense)


def _open(
    checkpoint: Checkpoint,
    *,
    engine: EngineName,
    precision: Precision,
    threads: int | None,
    device: str,
) -> Engine:
    on_cpu = device in ("auto", "cpu")
    if engine == "torch" or (engine == "auto" and not on_cpu):
        return _open_torch(checkpoint, precision=precision, device=device)
    if not on_cpu:
        raise InputError(f"the {engine} engine runs on the cpu, not on {device!r}; take torch")
    if engine == "native" or (engine == "auto" and _is_for_kernels(checkpoint, precision)):
        return _open_native(checkpoint, precision=precision, threads=threads)
    return _open_openvino(checkpoint, precision=precision, threads=threads)


def open_body(checkpoint: Checkpoint, *, before: Part, precision: Precision) -> Engine:
    """Return the CPU engine of a [CLS] encoder that ends before a part.

    It gives what `TorchBert.before` gives; int8 is made (and kept) as for a whole encoder, and
    with it the last layer keeps its precision.
    """
    return _open_openvino(checkpoint, precision=precision, threads=None, before=before)


def cached_int8(checkpoint: Checkpoint) -> Path:
    """Return the folder the int8 form of a checkpoint is kept in when its own has none."""
    name = f"{checkpoint.fingerprint}-{RECIPE}" + ("-pairs" if checkpoint.is_classifier else "")
    return cache_folder() / "int8" / name


def _open_torch(checkpoint: Checkpoint, *, precision: Precision, device: str) -> Engine:
    torch = need("torch", extra="torch")
    from corom.engines.torch_engine import TorchEngine

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if precision == "auto":
        precision = "fp32" if device == "cpu" else "bf16"
    return TorchEngine(
        checkpoint.shape,
        checkpoint.load_weights(),
        pooling=checkpoint.encoding.pooling,
        precision=precision,
        device=device,
    )


def _is_for_kernels(checkpoint: Checkpoint, precision: Precision) -> bool:
    from corom.engines.native_engine import drawback

    wanted = precision == "int8" or (precision == "auto" and _is_faithful(checkpoint))
    return wanted and drawback(checkpoint.shape) is None


def _open_native(checkpoint: Checkpoint, *, precision: Precision, threads: int | None) -> Engine:
    from corom.engines.native_engine import NativeEngine

    require_one_of("the native engine's precision", precision, ("auto", "int8"))
    return NativeEngine(
        checkpoint.shape,
        _int8_weights(checkpoint, threads),
        pooling=checkpoint.encoding.pooling,
        threads=threads,
    )


def _open_openvino(
    checkpoint: Checkpoint,
    *,
    precision: Precision,
    threads: int | None,
    before: Part | None = None,
) -> Engine:
    from corom.engines.openvino_engine import OpenVinoEngine
    from corom.engines.processor import has_bf16, has_vnni

    if precision == "auto":
        quick = has_vnni() and _is_faithful(checkpoint)
        precision = "int8" if quick else "bf16" if has_bf16() else "fp32"
    if precision == "bf16" and not has_bf16():
        warnings.warn(
            "this chip does not multiply bf16 faster than fp32, and may take 30 times as long; "
            "precision auto takes what is fast",
            stacklevel=2,
        )
    int8 = _int8_weights(checkpoint, threads) if precision == "int8" else None
    return OpenVinoEngine(
        checkpoint.shape,
        {} if int8 else checkpoint.load_weights(),
        pooling=checkpoint.encoding.pooling,
        precision=precision,
        int8=int8,
        threads=threads,
        before=before,
    )


def _is_faithful(checkpoint: Checkpoint) -> bool:
    fidelity = checkpoint.fidelity
    return fidelity is not None and fidelity.passed()


def _int8_weights(checkpoint: Checkpoint, threads: int | None) -> Int8Weights:
    """Return the int8 form from the model folder, else from the cache, else newly made."""
    if checkpoint.int8_file is not None:
        return checkpoint.read_int8()
    folder = cached_int8(checkpoint)
    if folder.is_dir():
        try:
            check_manifest(folder)
            return read_int8(folder / INT8, shape=checkpoint.shape)
        except ArtifactError as error:  # our own copy: nobody misses it
            warnings.warn(f"{error}; it is made anew", stacklevel=2)
            shutil.rmtree(folder)
    _require_place(folder.parent)
    from corom.engines.compression import bundled_texts, compress

    calibration, held_out = bundled_texts()
    made = compress(checkpoint, calibration=calibration, held_out=held_out, threads=threads)
    try:
        with atomic_folder(folder) as draft:
            save_int8(draft / INT8, made)
    except (ArtifactError, OSError) as error:
        # Another process that met the same model first has kept its form meanwhile: all use that.
        if folder.is_dir():
            return read_int8(folder / INT8, shape=checkpoint.shape)
        warnings.warn(f"the int8 form is not kept for the next time ({error})", stacklevel=2)
    if made.fidelity and not made.fidelity.passed():
        warnings.warn(f"{checkpoint.name}: {made.fidelity.advice()}", stacklevel=2)
    return made


def _require_place(folder: Path) -> None:
    """Raise ArtifactError, before minutes pass, unless a form can be kept in the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise ArtifactError(
            f"the int8 form cannot be kept in {folder}: set COROM_CACHE to a folder that can be "
            "written, or add the form to the model with corom convert --precision int8"
        )
