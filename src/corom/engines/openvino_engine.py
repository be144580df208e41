"""The CPU engine: OpenVINO on a graph made from the weights, in fp32, bf16 or int8."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from functools import cached_property
from itertools import chain, islice
from threading import Lock
from typing import Any

import numpy as np

from corom.checks import require_one_of
from corom.engines.base import Part
from corom.engines.graph import GraphBuilder
from corom.engines.processor import available_threads, has_bf16
from corom.engines.quiet_openvino import ov
from corom.models.config import Pooling, Shape
from corom.models.int8 import Int8Weights, require_pooling
from corom.models.weights import Weights
from corom.tokens import Batch
from corom.vectors import Vectors

# What a thread works on at a time: activations of this many tokens stay in a core's cache.
BATCH_TOKENS = 512
# So few threads share a batch as well as each computes one of its own (docs/benchmarks.md).
_SHARING = 2
# But where something else wants the cores, threads that wait for each other lose half: a list of so
# many batches is worth a second form.
_LONG = 64

_HINTS = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoEngine:
    """A compiled graph, in one form or two, each made on first use and with weights of its own.

    In the first, all threads work on one batch after another together (low latency); in the second,
    batches run side by side, one thread each. One or two threads need the second for long work
    only, and then it takes the place of the first, until that is needed again; more threads would
    wait for each other, so for them a few batches are enough, and both forms are kept.
    """

    name, packs = "openvino", False

    def __init__(
        self,
        shape: Shape,
        weights: Weights,
        *,
        pooling: Pooling,
        precision: str,
        int8: Int8Weights | None = None,
        threads: int | None = None,
        before: Part | None = None,
    ) -> None:
        require_one_of("the openvino engine's precision", precision, (*_HINTS, "int8"))
        self.precision, self.dim = precision, shape.hidden
        self.threads = threads or available_threads()
        self._sharing = self.threads <= _SHARING
        self.batch_tokens = BATCH_TOKENS * (self.threads if self._sharing else 1)
        if int8 is not None and before is None:
            require_pooling(int8, pooling, shape=shape)
        builder = GraphBuilder(shape, weights, int8=int8)
        self._model = builder.build(pooling, before=before)
        self._lock = Lock()

    def run(self, batches: Iterable[Batch], receive: Callable[[Batch, Vectors], None]) -> None:
        """Compute every batch and hand each to `receive` with its vectors, in any order.

        Safe to call from several threads: they take turns.
        """
        iterator = iter(batches)
        with self._lock:
            if self._sharing and not self._is_long(batches):
                return self._run_in_turn(iterator, receive)
            start = list(islice(iterator, 2 * self.threads))
            if len(start) < 2 * self.threads:
                return self._run_in_turn(start, receive)
            return self._run_apart(chain(start, self._as_free(iterator)), receive)

    def _is_long(self, batches: Iterable[Batch]) -> bool:
        """Whether the second form is worth making, or is there already."""
        least = 2 * self.threads if "_queue" in self.__dict__ else _LONG
        return self.threads > 1 and isinstance(batches, Sized) and len(batches) >= least

    def _run_in_turn(
        self, batches: Iterable[Batch], receive: Callable[[Batch, Vectors], None]
    ) -> None:
        for batch in batches:
            self._request.infer([batch.ids, batch.lengths], share_inputs=True)
            receive(batch, _output(self._request))

    def _run_apart(
        self, batches: Iterable[Batch], receive: Callable[[Batch, Vectors], None]
    ) -> None:
        failed: list[BaseException] = []

        def hand(request: Any, batch: Batch) -> None:  # noqa: ANN401 - openvino exports no types
            # What leaves a callback is kept by the queue and ends the process at its next use.
            try:
                if not failed:
                    receive(batch, _output(request))
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised below
                failed.append(error)

        self._queue.set_callback(hand)
        try:
            for batch in batches:
                if failed:
                    break
                self._queue.start_async([batch.ids, batch.lengths], userdata=batch)
        finally:
            self._queue.wait_all()
        if failed:
            raise failed[0]

    def _as_free(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yield batches, each taken when a stream is free: what comes before may still join it."""
        while True:
            self._queue.get_idle_request_id()  # waits for one
            if (batch := next(batches, None)) is None:
                return
            yield batch

    @cached_property
    def _request(self) -> Any:  # noqa: ANN401 - openvino exports no types
        self._give_up("_queue")
        return self._compile(streams=1).create_infer_request()

    @cached_property
    def _queue(self) -> Any:  # noqa: ANN401
        self._give_up("_request")
        return ov.AsyncInferQueue(self._compile(streams=self.threads), self.threads)

    def _give_up(self, form: str) -> None:
        """Free the other form, where one of them will do."""
        if self._sharing:
            self.__dict__.pop(form, None)

    def _compile(self, *, streams: int) -> Any:  # noqa: ANN401
        # What is not int8 in an int8 model (attention, norms) runs as the chip does it best: on a
        # Xeon without AMX float32 gives 9 % more passages a second than bfloat16.
        best = "bf16" if has_bf16() else "f32"
        options = {
            "INFERENCE_PRECISION_HINT": _HINTS.get(self.precision, best),
            "INFERENCE_NUM_THREADS": self.threads,
            # Pinned, processes of a thread each would all take the first core: half as fast on two.
            "ENABLE_CPU_PINNING": self.threads >= available_threads(),
            "NUM_STREAMS": streams,
        }
        return ov.Core().compile_model(self._model, "CPU", options)


def _output(request: Any) -> Vectors:  # noqa: ANN401
    # A copy: the request's own memory is overwritten by its next run.
    return np.array(request.get_output_tensor(0).data)
