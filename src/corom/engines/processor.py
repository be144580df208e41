"""What the processor can do: read from Linux itself, and elsewhere asked of OpenVINO."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path


def available_threads() -> int:
    """Return how many processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_flag(name: str) -> bool:
    """Whether Linux reports this feature of the processor; without Linux on x86_64, no."""
    return name in _line("flags").split()


def has_vnni() -> bool:
    """Whether this chip has instructions for int8, as far as Linux says so; elsewhere, yes.

    Without them OpenVINO's int8 is no faster than fp32, and less exact: two products are added up
    in 16 bits and may not fit. (An EPYC that shows no AVX-512, two cores, 600 passages of
    open-medical, the embedded model: 43 passages a second for 48, 0.9994 mean cosine to the master
    for 0.9999.)
    """
    if not _line("flags"):
        return True
    return any(map(has_flag, ("avx512_vnni", "avx_vnni", "amx_int8")))


def has_bf16() -> bool:
    """Whether this chip multiplies bfloat16 faster than float32.

    Intel's cores do so in AMX only: with AVX512_BF16 alone bfloat16 reached half the speed of
    float32 (docs/benchmarks.md), where AMD's Zen 4 reaches twice.
    """
    if _line("flags"):
        theirs = "avx512_bf16" if "Intel" not in _line("vendor_id") else "amx_bf16"
        return has_flag(theirs)
    # A tenth of a second that Linux need not wait.
    from corom.engines.quiet_openvino import ov

    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@cache
def _line(key: str) -> str:
    """Return what Linux says of the first processor under a key; empty where it says nothing."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""
    return text.partition(key)[2].partition("\n")[0].lstrip("\t :")
