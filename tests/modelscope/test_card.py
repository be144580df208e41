"""The inference code of the CoROM medical card, with nothing changed but its import lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corom.models.checkpoint import Checkpoint

MODEL = "damo/nlp_corom_sentence-embedding_chinese-base-medical"

# Source: modelscope.cn, model card of MODEL (Apache-2.0), its three import lines replaced.
CARD = """
from corom.modelscope import Model
from corom.modelscope import pipeline
from corom.modelscope import Tasks

model_id = "damo/nlp_corom_sentence-embedding_chinese-base-medical"
pipeline_se = pipeline(Tasks.sentence_embedding,
                       model=model_id)

# 当输入包含“soure_sentence”与“sentences_to_compare”时，会输出source_sentence中首个句子与sentences_to_compare中每个句子的向量表示，以及source_sentence中首个句子与sentences_to_compare中每个句子的相似度。
inputs = {
    'source_sentence': ["上消化道出血手术大约多久"],
    'sentences_to_compare': [
        "上消化道出血手术大约要2-3个小时左右。手术后应观察血压、体温、脉搏、呼吸的变化。污染被服应随时更换，以避免不良刺激。出血停止后按序给予温凉流质、半流质及易消化的软饮食。",
        "胃出血一般住院30-60天。胃出血一般需要住院的时间需要注意根据情况来看，要看是胃溃疡引起，还是有无肝硬化门静脉高压引起的出血的情况，待消化道出血完全停止后病情稳定就可以出院，因此住院时间并不固定",
    ]
}
result = pipeline_se(input=inputs)
print (result)
first = result

# 当输入仅含有soure_sentence时，会输出source_sentence中每个句子的向量表示以及首个句子与其他句子的相似度。
inputs2 = {
    'source_sentence': [
        "上消化道出血手术大约要2-3个小时左右。手术后应观察血压、体温、脉搏、呼吸的变化。污染被服应随时更换，以避免不良刺激。出血停止后按序给予温凉流质、半流质及易消化的软饮食。",
        "胃出血一般住院30-60天。胃出血一般需要住院的时间需要注意根据情况来看，要看是胃溃疡引起，还是有无肝硬化门静脉高压引起的出血的情况，待消化道出血完全停止后病情稳定就可以出院，因此住院时间并不固定",
    ]
}
result = pipeline_se(input=inputs2)
print (result)
"""  # noqa: E501


def test_the_card_runs_and_prints_what_it_shows(
    tmp_path: Path,
    tiny_checkpoint: Callable[..., Checkpoint],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tiny_checkpoint().folder
    target = tmp_path / "hub" / "models" / MODEL
    target.parent.mkdir(parents=True)
    folder.rename(target)
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("COROM_OFFLINE", "1")

    names: dict[str, Any] = {}
    exec(compile(CARD, "card", "exec"), names)  # noqa: S102

    printed = capsys.readouterr().out
    assert printed.startswith("{'text_embedding': array([[")
    assert "dtype=float32), 'scores': [" in printed
    first, second = names["first"], names["result"]
    assert first["text_embedding"].shape == (3, 32)
    assert [len(first["scores"]), len(second["scores"])] == [2, 1]
    # The card's own figures have both properties: the second input repeats two of the texts.
    np.testing.assert_allclose(first["text_embedding"][1:], second["text_embedding"], atol=0.05)
    np.testing.assert_allclose(
        second["scores"][0], second["text_embedding"][0] @ second["text_embedding"][1], rtol=1e-4
    )
