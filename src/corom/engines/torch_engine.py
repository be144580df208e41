"""The torch engine (extra `torch`): the reference on the CPU, and what runs on GPUs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING

from corom.checks import require_one_of
from corom.engines.base import SharedBatches
from corom.errors import InputError
from corom.extras import need
from corom.models.config import Pooling, Shape
from corom.models.weights import Weights
from corom.tokens import Batch
from corom.vectors import Vectors

if TYPE_CHECKING:
    import torch

_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
_CPU_TOKENS, _GPU_TOKENS = 2048, 65_536


def parse_devices(device: str) -> list[torch.device]:
    """Return the devices of `cpu`, `cuda:1` or `cuda:0,cuda:1`; InputError if one is absent."""
    import torch

    try:
        devices = [torch.device(name.strip()) for name in device.split(",")]
    except RuntimeError:
        raise InputError(
            f"device {device!r} is none; say cpu, cuda, cuda:1 or cuda:0,cuda:1"
        ) from None
    count = torch.cuda.device_count()
    for found in devices:
        if found.type not in ("cpu", "cuda"):
            raise InputError(f"device {found} is neither cpu nor cuda")
        if found.type == "cuda" and (found.index or 0) >= count:
            raise InputError(f"device {found} is not there: torch sees {count} CUDA devices")
    return devices


class TorchEngine:
    """One copy of the model on each device; every device takes the next batch when it is free."""

    name, packs = "torch", False

    def __init__(
        self, shape: Shape, weights: Weights, *, pooling: Pooling, precision: str, device: str
    ) -> None:
        torch = need("torch", extra="torch")
        from corom.engines.torch_bert import TorchBert

        require_one_of("the torch engine's precision", precision, _DTYPES)
        self.precision, self.dim, self._pooling = precision, shape.hidden, pooling
        self._devices = parse_devices(device)
        on_gpu = any(device.type == "cuda" for device in self._devices)
        self.batch_tokens = _GPU_TOKENS if on_gpu else _CPU_TOKENS
        self._models = []
        for target in self._devices:
            model = TorchBert(shape).eval().requires_grad_(requires_grad=False)
            model.load_weights(weights)
            self._models.append(model.to(target, getattr(torch, _DTYPES[precision])))

    def run(self, batches: Iterable[Batch], receive: Callable[[Batch, Vectors], None]) -> None:
        """Compute every batch and hand each to `receive` with its vectors, in any order."""
        source, turn = SharedBatches(batches), Lock()

        def take(number: int) -> None:
            try:
                for batch in source:
                    vectors = self._encode(batch, number)
                    with turn:
                        receive(batch, vectors)
            finally:
                source.stop()  # whatever happened here, nobody need go on

        with ThreadPoolExecutor(len(self._models)) as pool:
            list(pool.map(take, range(len(self._models))))  # a list: what failed is raised

    def _encode(self, batch: Batch, number: int) -> Vectors:
        import torch

        model, device = self._models[number], self._devices[number]
        with torch.inference_mode():
            ids = torch.from_numpy(batch.ids).to(device, torch.int64)
            lengths = torch.from_numpy(batch.lengths).to(device, torch.int64)
            vectors = model.encode(ids, lengths, pooling=self._pooling, normalize=False)
            found: Vectors = vectors.float().cpu().numpy()
        return found
