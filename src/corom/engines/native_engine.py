"""The int8 engine of corom's own kernels (`native/`), for processors with AVX-512 VNNI."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from ctypes import CDLL, Structure, byref, c_size_t, c_void_p
from functools import cache, cached_property
from itertools import chain, islice
from pathlib import Path
from threading import Lock
from weakref import finalize

import numpy as np

from corom.engines.base import SharedBatches, renew_when_forked
from corom.engines.native_model import fits, pack, space
from corom.engines.processor import available_threads, has_flag
from corom.errors import CoromError, InputError
from corom.models.config import Pooling, Shape
from corom.models.int8 import Int8Weights
from corom.tokens import Batch
from corom.vectors import Vectors

LIBRARY = Path(__file__).parent / "native" / "encoder.so"
INTERFACE = 1
"""As in `native/encoder.c`: of another version, the structures would not fit."""
# Activations of so many tokens stay in a core's cache, and the weights are read for enough of them.
BATCH_TOKENS = 512
# So few are nearly as fast together as apart, and then ask for no batch ahead.
_FEW_THREADS = 2
# More threads than that would mostly wait for each other: a model has 24 panels, 8 to 12 heads.
_TEAM = 8


class _Batch(Structure):
    _fields_ = [
        ("ids", c_void_p),
        ("lengths", c_void_p),
        ("texts", c_size_t),
        ("width", c_size_t),
        ("out", c_void_p),
    ]


@cache
def _library() -> CDLL:
    try:
        library = CDLL(str(LIBRARY))
    except OSError:
        raise InputError(f"{LIBRARY} cannot be loaded here: install corom again") from None
    if library.corom_interface() != INTERFACE:
        raise InputError(f"{LIBRARY} belongs to another version of corom: install corom again")
    library.corom_space.restype = c_size_t
    library.corom_team.restype = c_void_p
    library.corom_close.restype = None
    library.corom_encode.restype = None
    return library


def problem(shape: Shape | None = None) -> str | None:
    """Return why the kernels cannot run here (or such a model); None if they can."""
    if not LIBRARY.exists():
        return (
            "corom was installed without its kernels (they need Linux on x86_64 and a C compiler)"
        )
    if not _library().corom_runs_here():
        return "this processor has no AVX-512 VNNI"
    if shape is not None and not fits(shape):
        return "the model's sizes are no multiples of 32, or its activation is not the exact gelu"
    return None


def drawback(shape: Shape | None = None) -> str | None:
    """Return why int8 is better computed by OpenVINO here; None where the kernels are faster."""
    return problem(shape) or ("this chip has AMX" if has_flag("amx_int8") else None)


def _close(team: int, process: int) -> None:
    if process == os.getpid():  # a forked process has not the threads to wait for
        _library().corom_close(c_void_p(team))


class NativeEngine:
    """An int8 model on the kernels, whose weights are all the memory it keeps.

    A few batches are computed one after another, all threads on each (low latency); of a longer
    list each thread takes batches of its own, and all together what is left over.
    """

    name, precision, packs = "native", "int8", True

    def __init__(
        self, shape: Shape, int8: Int8Weights, *, pooling: Pooling, threads: int | None = None
    ) -> None:
        if (reason := problem(shape)) is not None:
            raise InputError(f"the native engine cannot be used: {reason}; take openvino")
        self._packed = pack(shape, int8, pooling=pooling)
        self.dim, self.batch_tokens = shape.hidden, BATCH_TOKENS
        self.threads = threads or available_threads()
        self._sharing = min(self.threads, _TEAM)
        self._spaces = [space(0)] * self.threads
        self._lock = Lock()
        renew_when_forked(self)

    @cached_property
    def _team(self) -> c_void_p | None:
        """The threads that share a batch, started when one comes; None for one thread."""
        if self.threads == 1:
            return None
        team = _library().corom_team(c_size_t(self._sharing))
        if not team:
            raise CoromError(f"{self._sharing} threads cannot be started")
        finalize(self, _close, team, os.getpid())
        return c_void_p(team)

    @cached_property
    def _others(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.threads - 1, "corom-native")

    def run(self, batches: Iterable[Batch], receive: Callable[[Batch, Vectors], None]) -> None:
        """Compute every batch and hand each to `receive` with its vectors, in any order.

        Safe to call from several threads: they take turns.
        """
        with self._lock:
            apart, together = self._planned(batches)
            if apart:
                self._run_apart(apart, receive)
            for batch in together:
                receive(batch, self._encode(batch, 0, self._team, self._sharing))

    def _planned(self, batches: Iterable[Batch]) -> tuple[Iterable[Batch], Iterable[Batch]]:
        """Return the batches to compute one a thread, and those for all threads together."""
        least = 2 * self.threads
        if isinstance(batches, Sequence):
            even = len(batches) // self.threads * self.threads
            even = even if self.threads > 1 and even >= least else 0
            return batches[:even], batches[even:]
        if self.threads <= _FEW_THREADS:
            return (), batches
        iterator = iter(batches)
        start = list(islice(iterator, least))
        return (chain(start, iterator), ()) if len(start) == least else ((), start)

    def renew(self) -> None:
        """Let a forked process, which has none of its parent's threads, start its own.

        One of those may have held the lock.
        """
        self._lock = Lock()
        self.__dict__.pop("_team", None)
        self.__dict__.pop("_others", None)

    def _run_apart(
        self, batches: Iterable[Batch], receive: Callable[[Batch, Vectors], None]
    ) -> None:
        source, turn = SharedBatches(batches), Lock()

        def take(worker: int) -> None:
            try:
                for batch in source:
                    vectors = self._encode(batch, worker, None, 1)
                    with turn:
                        receive(batch, vectors)
            finally:
                source.stop()  # whatever happened here, nobody need go on

        others = [self._others.submit(take, worker) for worker in range(1, self.threads)]
        try:
            take(0)
        finally:
            wait(others)
        for other in others:
            other.result()

    def _encode(self, batch: Batch, worker: int, team: c_void_p | None, ranks: int) -> Vectors:
        ids = np.ascontiguousarray(batch.ids, np.int32)
        lengths = np.ascontiguousarray(batch.lengths, np.int32)
        vectors = np.empty((len(ids), self.dim), np.float32)
        model = byref(self._packed.model)
        sizes = map(c_size_t, (*ids.shape, int(lengths.sum()), ranks))
        needed = _library().corom_space(model, *sizes)
        if len(self._spaces[worker]) < needed:
            self._spaces[worker] = space(needed)
        memory = c_void_p(self._spaces[worker].ctypes.data)
        described = _Batch(ids.ctypes.data, lengths.ctypes.data, *ids.shape, vectors.ctypes.data)
        _library().corom_encode(model, byref(described), memory, team)
        return vectors
