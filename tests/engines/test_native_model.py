"""What the kernels are given."""

from __future__ import annotations

import json

import pytest

from corom.encoder import Encoder
from corom.engines import native_engine
from corom.engines.compression import bundled_texts, compress
from corom.errors import ArtifactError
from corom.models.checkpoint import load_checkpoint
from corom.models.config import Shape
from corom.models.int8 import save_int8
from corom.models.weights import INT8


@pytest.mark.parametrize("engine", ["openvino", "native"])
@pytest.mark.parametrize(("made", "now"), [("cls", "avg"), ("avg", "cls"), ("avg_top2", "cls")])
def test_a_form_made_for_another_pooling_is_refused(tiny_checkpoint, tiny_shape, engine, made, now):
    if engine == "native" and (reason := native_engine.problem()) is not None:
        pytest.skip(reason)
    shape = Shape(**{**vars(tiny_shape), "hidden": 64, "heads": 2})
    checkpoint = tiny_checkpoint(shape=shape, pooling=made)
    calibration, held_out = (texts[:20] for texts in bundled_texts())
    int8 = compress(checkpoint, calibration=calibration, held_out=held_out)
    save_int8(checkpoint.folder / INT8, int8)
    assert Encoder(checkpoint, engine=engine, precision="int8").encode_queries(["头痛"]).shape == (
        1,
        64,
    )
    path = checkpoint.folder / "configuration.json"
    configuration = json.loads(path.read_text())
    configuration["model"]["emb_pooler_type"] = now
    path.write_text(json.dumps(configuration))
    wanted = rf"model\.int8\.safetensors was made for .*, not for pooling {now}; make it again"
    with pytest.raises(ArtifactError, match=wanted):
        Encoder(load_checkpoint(checkpoint.folder), engine=engine, precision="int8")
