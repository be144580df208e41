"""The text-ranking pipeline: its scores are the reranker's, squashed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corom import Reranker
from corom.errors import ArtifactError, InputError
from corom.modelscope import Model, RankingPipeline, Tasks, pipeline

QUESTION = "糖尿病吃什么"
ANSWERS = ["饮食要注意休息", "高血压患者不要吃" * 20, "头痛发热咳嗽"]


@pytest.fixture
def rank(tiny_reranker: Path) -> RankingPipeline:
    return pipeline(Tasks.text_ranking, model=tiny_reranker, precision="fp32")


def test_scores_are_the_rerankers_from_0_to_1(rank: RankingPipeline, tiny_reranker: Path) -> None:
    found = rank({"source_sentence": [QUESTION], "sentences_to_compare": ANSWERS})
    logits = Reranker.load(tiny_reranker, precision="fp32").score([QUESTION] * 3, ANSWERS)
    assert set(found) == {"scores"}
    np.testing.assert_allclose(found["scores"], 1 / (1 + np.exp(-logits)), atol=1e-6)


def test_a_list_of_inputs_gives_a_list_of_the_same_results(rank: RankingPipeline) -> None:
    inputs: list[Any] = [
        {"source_sentence": [QUESTION], "sentences_to_compare": ANSWERS},
        {"source_sentence": ["头痛"], "sentences_to_compare": ANSWERS[:1]},
    ]
    found = rank(inputs)
    for one, alone in zip(found, map(rank, inputs), strict=True):
        assert one["scores"] == pytest.approx(alone["scores"], abs=1e-5)
    assert rank([]) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"source_sentence": [QUESTION]}, "one source_sentence and some sentences_to_compare"),
        ({"source_sentence": ["头", "痛"], "sentences_to_compare": ["药"]}, "not 2 and 1"),
        ({"source_sentence": QUESTION, "sentences_to_compare": ANSWERS}, "list of texts, not str"),
        ({"source_sentence": ["头"], "sentences_to_compare": ["药"], "x": 1}, "unknown key 'x'"),
        ([QUESTION], "input 0 must be"),
        (QUESTION, "must be"),
    ],
)
def test_wrong_input_is_named_without_its_text(
    rank: RankingPipeline, given: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        rank(given)
    assert QUESTION not in str(caught.value)


def test_the_length_is_the_folders_unless_max_length_says_otherwise(tiny_reranker: Path) -> None:
    given: Any = {"source_sentence": [QUESTION], "sentences_to_compare": ["药" * 200]}
    model = Model.from_pretrained(tiny_reranker)
    short = pipeline(Tasks.text_ranking, model=model, max_length=20, precision="fp32")
    truth = Reranker.load(tiny_reranker, max_length=20, precision="fp32")
    logit = truth.score([QUESTION], ["药" * 200])[0]
    assert short(given)["scores"] == pytest.approx([1 / (1 + np.exp(-logit))], abs=1e-6)
    with pytest.warns(UserWarning, match="sequence_length=20 has no effect"):
        pipeline(Tasks.text_ranking, model=model, sequence_length=20, precision="fp32")


def test_wrong_options_are_refused(tiny_reranker: Path, tiny_checkpoint: Any) -> None:
    options: Any
    for options in ({"boq": "问"}, {"eod": "[SEP]"}, {"score": "dot"}):
        with pytest.raises(InputError, match="not ranking"):
            pipeline(Tasks.text_ranking, model=tiny_reranker, **options)
    with pytest.raises(ArtifactError, match="no cross-encoder"):
        pipeline(Tasks.text_ranking, model=tiny_checkpoint().folder)
    with pytest.raises(ArtifactError, match="is a reranker"):
        pipeline(Tasks.sentence_embedding, model=tiny_reranker)
    with pytest.raises(InputError, match="'ranking' is none of"):
        pipeline("ranking", model=tiny_reranker)  # type: ignore[call-overload]
