from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from corom.encoder import Encoder
from corom.errors import ArtifactError, InputError
from corom.models.checkpoint import Checkpoint
from corom.modelscope import Model, Pipeline, Tasks, pipeline

QUESTION = "糖尿病吃什么"
ANSWERS = ["饮食要注意休息", "高血压患者不要吃", "头痛发热咳嗽"]

Make = Callable[..., Checkpoint]


def load(checkpoint: Checkpoint, **options: Any) -> Pipeline:
    options = {"precision": "fp32"} | options
    return pipeline(Tasks.sentence_embedding, model=checkpoint.folder, **options)


@pytest.fixture
def tiny(tiny_checkpoint: Make) -> Checkpoint:
    return tiny_checkpoint()


def test_sources_come_first_and_the_first_is_scored_with_all_others(tiny: Checkpoint) -> None:
    result = load(tiny)({"source_sentence": [QUESTION, "b"], "sentences_to_compare": ANSWERS})
    vectors = result["text_embedding"]
    assert vectors.shape == (5, 32)
    assert vectors.dtype == np.float32
    encoder = Encoder(tiny, precision="fp32")
    np.testing.assert_allclose(vectors[:2], encoder.encode_queries([QUESTION, "b"]), atol=1e-5)
    np.testing.assert_allclose(vectors[2:], encoder.encode_passages(ANSWERS), atol=1e-5)
    assert isinstance(result["scores"], list)
    np.testing.assert_allclose(result["scores"], vectors[0] @ vectors[1:].T, rtol=1e-5)


@pytest.mark.parametrize(
    "others", [{}, {"sentences_to_compare": None}, {"sentences_to_compare": []}]
)
def test_source_sentences_only(tiny: Checkpoint, others: dict[str, Any]) -> None:
    result = load(tiny)({"source_sentence": ANSWERS, **others})
    vectors = result["text_embedding"]
    assert vectors.shape == (3, 32)
    np.testing.assert_allclose(result["scores"], vectors[0] @ vectors[1:].T, rtol=1e-5)


def test_one_source_sentence_has_no_scores(tiny: Checkpoint) -> None:
    assert load(tiny)({"source_sentence": [QUESTION]})["scores"] == []


def test_a_list_of_inputs_gives_a_list_of_the_same_results(tiny: Checkpoint) -> None:
    run = load(tiny)
    inputs: list[Any] = [
        {"source_sentence": [QUESTION], "sentences_to_compare": ANSWERS},
        {"source_sentence": ANSWERS},
        {"source_sentence": [QUESTION]},
    ]
    together = run(inputs)
    assert run([]) == []
    for one, alone in zip(together, map(run, inputs), strict=True):
        np.testing.assert_allclose(one["text_embedding"], alone["text_embedding"], atol=1e-5)
        np.testing.assert_allclose(one["scores"], alone["scores"], rtol=1e-4, atol=1e-4)


def test_many_sentences_are_batched(tiny: Checkpoint) -> None:
    texts = [QUESTION * (1 + n % 7) for n in range(1000)]
    vectors = load(tiny)({"source_sentence": texts})["text_embedding"]
    np.testing.assert_allclose(vectors[7], vectors[0], atol=1e-5)
    assert len(vectors) == 1000


@pytest.mark.parametrize("score", ["dot", "cosine", "l2"])
def test_scores_of_other_kinds(tiny: Checkpoint, score: str) -> None:
    result = load(tiny, score=score)({"source_sentence": [QUESTION, *ANSWERS]})
    first, others = result["text_embedding"][0], result["text_embedding"][1:]
    expected = {
        "dot": others @ first,
        "cosine": others @ first / np.linalg.norm(others, axis=1) / np.linalg.norm(first),
        "l2": np.linalg.norm(others - first, axis=1),
    }[score]
    np.testing.assert_allclose(result["scores"], expected, rtol=1e-4)


def test_a_model_or_its_name_or_its_folder(tiny: Checkpoint) -> None:
    model = Model.from_pretrained(tiny.folder)
    assert model.model_dir == str(tiny.folder)
    source: Any = {"source_sentence": [QUESTION]}
    one, two = (
        pipeline(model=each, precision="fp32")(source) for each in (model, str(tiny.folder))
    )
    np.testing.assert_array_equal(one["text_embedding"], two["text_embedding"])
    with pytest.raises(InputError, match="model_revision"):
        pipeline(model=model, model_revision="v1")


LONG: Any = {"source_sentence": [QUESTION * 30]}


def cut_to(checkpoint: Checkpoint, length: int) -> np.ndarray:
    return Encoder(checkpoint, precision="fp32", max_length=length).encode_queries(
        LONG["source_sentence"]
    )


def test_max_length_wins_over_the_model_and_sequence_length(tiny_checkpoint: Make) -> None:
    checkpoint = tiny_checkpoint(max_length=16)
    for options, length in (({}, 16), ({"max_length": 32, "sequence_length": 64}, 32)):
        vectors = load(checkpoint, **options)(LONG)["text_embedding"]
        np.testing.assert_allclose(vectors, cut_to(checkpoint, length), atol=1e-5)
    with pytest.warns(UserWarning, match="sequence_length=64 has no effect.*max_length 16"):
        run = load(checkpoint, sequence_length=64)
    np.testing.assert_allclose(run(LONG)["text_embedding"], cut_to(checkpoint, 16), atol=1e-5)


def test_sequence_length_counts_where_the_model_states_none(tiny: Checkpoint) -> None:
    (tiny.folder / "configuration.json").unlink()
    for options, length in (({"sequence_length": 16}, 16), ({}, 128)):
        vectors = load(tiny, **options)(LONG)["text_embedding"]
        np.testing.assert_allclose(vectors, cut_to(tiny, length), atol=1e-5)


def test_prompts_go_around_queries_and_documents(tiny: Checkpoint) -> None:
    inputs: Any = {"source_sentence": ["头痛"], "sentences_to_compare": ["休息"]}
    given = load(tiny, boq="高血压", bod="饮食")(inputs)["text_embedding"]
    written: Any = {"source_sentence": ["高血压头痛"], "sentences_to_compare": ["饮食休息"]}
    np.testing.assert_allclose(given, load(tiny)(written)["text_embedding"], atol=1e-5)
    ended = load(tiny, eoq="糖", eod="肝")(inputs)["text_embedding"]
    assert not np.allclose(ended, load(tiny)(inputs)["text_embedding"], atol=1e-2)
    with pytest.raises(ArtifactError, match="query_suffix must be one token"):
        load(tiny, eoq="不在词表里")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("头痛", "not str"),
        (None, "not NoneType"),
        ({}, "source_sentence of the input must be a list of texts, not NoneType"),
        ({"source_sentence": "头痛"}, "must be a list of texts, not str"),
        ({"source_sentence": []}, "at least one text"),
        ({"source_sentence": ["头痛", 3]}, "text 1 is int, not str"),
        ({"source_sentence": ["a"], "sentences_to_compare": "头痛"}, "must be a list of texts"),
        ({"source_sentence": ["a"], "sentences_to_compare": ["b", None]}, "text 1 is NoneType"),
        ({"soure_sentence": ["a"]}, "unknown key 'soure_sentence'"),
        ([{"source_sentence": ["a"]}, ["b"]], "input 1 must be"),
        ([{"source_sentence": ["a"]}, {"source_sentence": []}], "of input 1 must hold"),
    ],
)
def test_wrong_input_is_named_without_its_text(tiny: Checkpoint, given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load(tiny)(given)
    assert "头痛" not in str(caught.value)


def test_wrong_options_are_refused(tiny: Checkpoint) -> None:
    with pytest.raises(InputError, match="'fill-mask' is none of"):
        pipeline("fill-mask", model=tiny.folder)
    with pytest.raises(InputError, match="score 'euclid'"):
        load(tiny, score="euclid")
    for device in ("tpu", "gpu:x", "cuda:", 0):
        with pytest.raises(InputError, match="device"):
            load(tiny, device=device)
    with pytest.raises(TypeError, match="sequence_lenght"):
        load(tiny, sequence_lenght=3)
    with pytest.raises(InputError, match="max_length"):
        load(tiny, max_length=513)


@pytest.mark.torch
def test_a_gpu_that_is_not_there_is_an_error(tiny: Checkpoint) -> None:
    torch = pytest.importorskip("torch")
    for device in ("gpu:7", "cuda:7"):
        with pytest.raises(InputError, match=r"device cuda:7 is not there"):
            load(tiny, device=device)
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="device cuda is not there"):
            load(tiny, device="gpu")


def test_texts_of_every_kind(tiny: Checkpoint) -> None:
    odd = ["", " ", "\0\x07", "\ud800", "😷 µg/mL", "x" * 10_000, QUESTION, QUESTION]
    result = load(tiny)({"source_sentence": odd})
    assert np.isfinite(result["text_embedding"]).all()
    np.testing.assert_allclose(result["text_embedding"][6], result["text_embedding"][7], atol=1e-6)
