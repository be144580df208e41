"""What the processor is said to do."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from corom import Encoder
from corom.engines import processor, quiet_openvino
from corom.engines.native_engine import problem
from corom.index import scan

AMD, INTEL = "AuthenticAMD", "GenuineIntel"


@pytest.mark.parametrize(
    ("vendor", "flags", "quick"),
    [
        (AMD, "avx512_bf16", True),
        (AMD, "avx2", False),
        (INTEL, "avx512_bf16", False),
        (INTEL, "avx512_bf16 amx_bf16", True),
    ],
)
def test_bf16_by_vendor_and_flags(monkeypatch, vendor, flags, quick):
    lines = {"vendor_id": vendor, "flags": f"fpu {flags} sse"}
    monkeypatch.setattr(processor, "_line", lines.get)
    assert processor.has_bf16() is quick
    assert processor.has_flag("fpu")
    assert not processor.has_flag("avx")  # a word, not a part of one


@pytest.mark.parametrize(
    ("flags", "quick"),
    [
        ("fpu avx2", False),
        ("fpu avx2 avx512f", False),
        ("fpu avx2 avx_vnni", True),
        ("avx512_vnni", True),
        ("amx_int8", True),
        ("", True),
    ],
)
def test_int8_by_flags_where_there_are_any(monkeypatch, flags, quick):
    monkeypatch.setattr(processor, "_line", {"flags": flags}.get)
    assert processor.has_vnni() is quick
    with monkeypatch.context() as chip:
        chip.setattr(processor, "has_bf16", lambda: False)
        encoder = Encoder.load("corom-medical", engine="openvino")
    assert encoder.precision == ("int8" if quick else "fp32")


@pytest.mark.parametrize("able", [["FP32", "BF16"], ["FP32"]])
def test_openvino_is_asked_where_linux_says_nothing(monkeypatch, able):
    asked = SimpleNamespace(get_property=lambda device, name: able)
    monkeypatch.setattr(quiet_openvino, "ov", SimpleNamespace(Core=lambda: asked))
    monkeypatch.setattr(processor, "_line", lambda _: "")
    assert processor.has_bf16() is ("BF16" in able)
    assert not processor.has_flag("avx2")


def test_the_first_processor_counts(monkeypatch, tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text("vendor_id\t: AuthenticAMD\nflags\t\t: fpu avx2\n\nflags\t\t: fpu\n")
    monkeypatch.setattr(processor, "Path", lambda _: file)
    assert processor._line.__wrapped__("flags") == "fpu avx2"
    assert processor._line.__wrapped__("vendor_id") == AMD
    file.unlink()
    assert processor._line.__wrapped__("flags") == ""


@pytest.mark.skipif(problem() is not None, reason="the kernels do not run here")
def test_the_kernels_encode_and_few_passages_are_searched_without_openvino():
    code = (
        "import sys; sys.modules['openvino'] = None\n"
        "from corom import Encoder, Passage, Searcher, VectorIndex\n"
        "encoder = Encoder.load(engine='native')\n"
        "index = VectorIndex.new(512, fingerprint=encoder.fingerprint, normalized=True)\n"
        "index.add([Passage('1', '头痛')], encoder.encode_passages(['头痛']))\n"
        "hits = Searcher(index, encoder=encoder).search(['头疼'])[0]\n"
        "assert [hit.id for hit in hits] == ['1']"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("quick", [True, False])
def test_a_first_pass_in_bf16_is_one_where_the_chip_multiplies_it(monkeypatch, quick):
    monkeypatch.setattr(scan, "has_bf16", lambda: quick)
    hints = []
    monkeypatch.setattr(scan, "_compiled", lambda *asked: hints.append(asked[-1]))
    scan.Scanner(8, "bf16", vector_type="float32")
    scan.Scanner(8, "fp32", vector_type="float32")
    assert hints == ["bf16" if quick else "f32", "f32"]


def test_bf16_that_the_chip_does_not_multiply_is_warned_of(monkeypatch, tiny_checkpoint):
    monkeypatch.setattr(processor, "has_bf16", lambda: False)
    with pytest.warns(UserWarning, match="does not multiply bf16"):
        Encoder(tiny_checkpoint(), engine="openvino", precision="bf16")
