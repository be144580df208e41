"""The processes of a run, accelerate's, and how this one computes."""

from __future__ import annotations

from datetime import timedelta

import torch
from accelerate import Accelerator, InitProcessGroupKwargs

from corom.engines.processor import has_bf16
from corom.training.run_settings import Precision, RunSettings


def start_accelerator(settings: RunSettings) -> Accelerator:
    """Return accelerate's view of the processes and this process's device."""
    # While the main process mines or reads a corpus, the others wait longer than the 10 minutes
    # that torch allows by itself.
    patience = InitProcessGroupKwargs(timeout=timedelta(hours=24))
    return Accelerator(
        cpu=settings.device == "cpu", mixed_precision="no", kwargs_handlers=[patience]
    )


def own_share(accelerator: Accelerator) -> slice:
    """Return which of a batch's items are this process's."""
    return slice(accelerator.process_index, None, accelerator.num_processes)


def part() -> None:
    """Wait for the other processes and leave their group: the last a program does with them.

    Without it, gloo aborts a process now and then that ends while others still talk to it.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def uses_bf16(precision: Precision, *, device: torch.device) -> bool:
    """Whether to multiply in bf16: as asked, or where the chip does that faster than fp32.

    Of Intel's CPUs those with AMX: with AVX-512 alone torch's bf16 products are slower, 88 against
    160 GFLOP/s a core where we measured (Xeon, oneDNN 3.12), 3.0 against 1.9 s a step. On AMD's
    Zen 4 AVX-512 does, twice as fast as fp32.
    """
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(able.get("amx_bf16") or (able.get("avx512_bf16") and has_bf16()))
