"""The outputs of ModelScope 1.40.2's own pipeline on a small checkpoint: 13 cases.

The files lie beside the checkout, in ../shared; without them these tests are skipped.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corom.models.convert import convert
from corom.modelscope import pipeline

GOLDEN = Path(__file__).parents[3] / "shared" / "reference" / "modelscope-golden"
CASES: dict[str, Any] = (
    json.loads((GOLDEN / "cases.json").read_text("utf-8")) if GOLDEN.is_dir() else {}
)

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(not CASES, reason=f"{GOLDEN} is not there"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that gives the folder of the model with other settings."""
    pytest.importorskip("torch")  # it opens the golden model's pytorch_model.bin
    plain = tmp_path_factory.mktemp("golden") / "plain"
    convert(GOLDEN / "model", plain)

    def with_settings(settings: dict[str, Any]) -> Path:
        if not settings:
            return plain
        folder = plain.with_name("-".join(map(str, settings.values())))
        if not folder.is_dir():
            folder.mkdir()
            for name in ("config.json", "model.safetensors", "vocab.txt"):
                shutil.copy(plain / name, folder / name)
            configuration = json.loads((GOLDEN / "model" / "configuration.json").read_text())
            configuration["model"] |= settings
            (folder / "configuration.json").write_text(json.dumps(configuration))
        return folder

    return with_settings


@pytest.mark.parametrize("engine", ["openvino", "torch"])
@pytest.mark.parametrize("case", CASES)
def test_vectors_and_scores_are_modelscopes(model: Any, case: str, engine: Any) -> None:
    golden = CASES[case]
    expected = np.load(GOLDEN / "embeddings.npz")[case]
    run = pipeline(
        model=model(golden["model"]),
        precision="fp32",
        engine=engine,
        **golden["pipeline_kwargs"],
    )
    result = run(golden["input"])
    np.testing.assert_allclose(result["text_embedding"], expected, atol=1e-4, rtol=0)
    # ModelScope gives no scores for source sentences alone; the card does.
    scores = golden["scores"] or (expected[0] @ expected[1:].T).tolist()
    np.testing.assert_allclose(result["scores"], scores, rtol=1e-3)
