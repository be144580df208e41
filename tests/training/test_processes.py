from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from corom.training.processes import uses_bf16  # noqa: E402

pytestmark = pytest.mark.torch


def test_precision_is_as_asked():
    cpu = torch.device("cpu")
    assert uses_bf16("bf16", device=cpu)
    assert not uses_bf16("fp32", device=cpu)


@pytest.mark.parametrize(
    ("able", "quick", "expected"),
    [
        ("amx_bf16", True, True),
        ("avx512_bf16", False, False),  # Intel without AMX
        ("avx512_bf16", True, True),  # AMD
        ("avx2", False, False),
    ],
)
def test_bf16_is_chosen_only_where_it_is_faster(monkeypatch, able, quick, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {able: True}, raising=False)
    monkeypatch.setattr("corom.training.processes.has_bf16", lambda: quick)
    assert uses_bf16("auto", device=torch.device("cpu")) is expected
