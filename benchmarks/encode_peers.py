"""The form of a model that a peer needs, made the way the peer's own documentation says.

    encode_peers.py onnx-int8 MODEL TARGET [--calibration FILE]

The target is a model folder for sentence-transformers (fastembed reads it too) that holds the
form under its default name. Calibration texts are a JSON list.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any, get_args

from encode_backends import MAX_LENGTH, Peer, without_telemetry


def export(model: Path, draft: Path, *, backend: str) -> Any:  # noqa: ANN401 - a peer's own
    """Export `model` to ONNX or OpenVINO into the folder `draft`; return it as loaded."""
    from sentence_transformers import SentenceTransformer

    loaded = SentenceTransformer(str(model), backend=backend, device="cpu", model_kwargs={})
    loaded.save_pretrained(str(draft))
    return loaded


def quantise_onnx(model: Path, draft: Path) -> None:
    """Write the dynamic int8 form for chips with VNNI (sbert.net, "Speeding up Inference")."""
    from sentence_transformers import export_dynamic_quantized_onnx_model

    loaded = export(model, draft, backend="onnx")
    export_dynamic_quantized_onnx_model(loaded, "avx512_vnni", str(draft))
    (draft / "onnx" / "model_qint8_avx512_vnni.onnx").replace(draft / "onnx" / "model.onnx")


def quantise_openvino(model: Path, draft: Path, *, texts: list[str]) -> None:
    """Write the static int8 form: NNCF as optimum calls it, calibrated on `texts`.

    Not through sentence-transformers' own function: that one can only calibrate on a data set
    it downloads, English film reviews by default.
    """
    import nncf
    import openvino

    loaded = export(model, draft, backend="openvino")
    path = draft / "openvino" / "openvino_model.xml"
    core = openvino.Core()
    plain = core.read_model(path)
    names, tokenizer = {port.get_any_name() for port in plain.inputs}, loaded.tokenizer

    def inputs(text: str) -> dict[str, Any]:
        tokens = tokenizer(text, truncation=True, max_length=MAX_LENGTH, return_tensors="np")
        return {name: tokens[name] for name in names}

    quantised = nncf.quantize(
        plain,
        nncf.Dataset(texts, inputs),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(texts),
    )
    int8 = path.with_stem("int8")
    openvino.save_model(quantised, int8)
    del plain, loaded  # they hold the file that is replaced
    for suffix in (".xml", ".bin"):
        int8.with_suffix(suffix).replace(path.with_suffix(suffix))


def main() -> None:
    """Make one form; the target appears when it is whole."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("form", choices=get_args(Peer))
    parser.add_argument("model", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--calibration", type=Path, help="JSON list of texts")
    options = parser.parse_args()
    without_telemetry()
    draft = options.target.with_suffix(".part")
    shutil.rmtree(draft, ignore_errors=True)
    if options.form == "onnx-int8":
        quantise_onnx(options.model, draft)
    elif options.form == "openvino-int8":
        texts = json.loads(options.calibration.read_text("utf-8"))
        quantise_openvino(options.model, draft, texts=texts)
    else:
        export(options.model, draft, backend=options.form)
    draft.rename(options.target)


if __name__ == "__main__":
    main()
