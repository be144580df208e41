from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from corom import Encoder, Passage, Reranker
from corom.engines.base import EngineName, Precision
from corom.errors import ArtifactError, InputError
from corom.models.checkpoint import Checkpoint, load_checkpoint
from corom.models.head import Head, read_head
from corom.models.token_types import TOKEN_TYPES
from corom.records import Hit
from corom.reranker import SecondPass, squashed
from corom.tokens import Batch, PairCutter
from models.numpy_bert import hidden_states

QUERIES = ["糖尿病吃什么药", "头痛", "头痛", ""]
PASSAGES = ["患者要注意饮食，休息多久", "发热咳嗽检查" * 30, "高血压", "手术"]


@pytest.fixture
def reranker(tiny_reranker: Path) -> Reranker:
    return Reranker.load(tiny_reranker, precision="fp32")


def test_scores_are_the_heads_of_the_encoders_vectors(
    reranker: Reranker, tiny_reranker: Path, tiny_checkpoint: Callable[..., Checkpoint]
) -> None:
    head = read_head(load_checkpoint(tiny_reranker))
    encoder = Encoder(tiny_checkpoint(), precision="fp32")  # of the same weights
    query, passage = (encoder.cut([text])[0].ids for text in ("糖尿病", "注意饮食"))
    ids = np.concatenate([query, passage[1:]])[None]
    found: list[np.ndarray] = []
    batch = Batch(np.array([0]), ids, np.array([ids.shape[1]], np.int32))
    encoder.run([batch], lambda _, vectors: found.append(vectors.copy()))
    pooled = np.tanh(found[0] @ head.pooler.T + head.pooler_bias)
    expected = pooled @ head.classifier.T + head.classifier_bias
    assert reranker.score(["糖尿病"], ["注意饮食"]) == pytest.approx(expected[0], abs=1e-5)


def test_an_encoder_is_not_made_of_a_reranker(tiny_reranker: Path) -> None:
    with pytest.raises(ArtifactError, match="is a reranker"):
        Encoder.load(tiny_reranker)


def test_a_pairs_score_does_not_depend_on_its_neighbours(reranker: Reranker) -> None:
    together = reranker.score(QUERIES, PASSAGES)
    assert together.shape == (4,)
    assert together.dtype == np.float32
    for query, passage, score in zip(QUERIES, PASSAGES, together, strict=True):
        assert reranker.score([query], [passage])[0] == pytest.approx(score, abs=1e-5)
    assert len(set(together.tolist())) == 4


def test_both_sides_matter_and_so_does_their_order(reranker: Reranker) -> None:
    one, other, turned = reranker.score(["头痛", "发热", "咳嗽"], ["咳嗽", "咳嗽", "头痛"])
    assert len({float(one), float(other), float(turned)}) == 3


def test_engines_agree(tiny_reranker: Path, reranker: Reranker) -> None:
    pytest.importorskip("torch")
    torch = Reranker.load(tiny_reranker, engine="torch", precision="fp32")
    assert torch.engine == "torch"
    np.testing.assert_allclose(
        torch.score(QUERIES, PASSAGES), reranker.score(QUERIES, PASSAGES), atol=1e-4
    )


def test_a_ranking_follows_the_one_rule(reranker: Reranker) -> None:
    passages = [Passage(str(n), text) for n, text in enumerate([*PASSAGES, PASSAGES[0]])]
    hits = reranker.rank("糖尿病", passages)
    assert sorted(hit.id for hit in hits) == ["0", "1", "2", "3", "4"]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    ids = [hit.id for hit in hits]
    assert ids.index("4") == ids.index("0") + 1  # equal text, equal score: by id
    assert reranker.rank("糖尿病", passages, k=2) == hits[:2]
    assert reranker.rank("糖尿病", []) == []
    titled = [Passage("1", "饮食", title="糖尿病")]
    assert reranker.rank("药", titled)[0].score == reranker.score(["药"], ["糖尿病 饮食"])[0]


def test_progress_counts_pairs(reranker: Reranker) -> None:
    seen: list[int] = []
    reranker.score(QUERIES, PASSAGES, progress=seen.append)
    assert seen[-1] == 4


def test_wrong_input_is_refused(reranker: Reranker, tiny_reranker: Path) -> None:
    assert reranker.score([], []).shape == (0,)
    with pytest.raises(InputError, match="2 queries for 1 passages"):
        reranker.score(["头痛", "发热"], ["药"])
    with pytest.raises(InputError):
        reranker.score("头痛", "发热")
    with pytest.raises(InputError):
        reranker.score([1], ["药"])
    with pytest.raises(InputError, match="twice"):
        reranker.rank("头痛", [Passage("1", "药"), Passage("1", "手术")])
    with pytest.raises(InputError, match="k is 0"):
        reranker.rank("头痛", [Passage("1", "药")], k=0)
    for length in (3, 513, "9"):
        with pytest.raises(InputError, match=f"for {tiny_reranker} is {length!r}; it must"):
            Reranker.load(tiny_reranker, max_length=length)
    with pytest.raises(InputError, match="threads"):
        Reranker.load(tiny_reranker, threads=0)


def test_a_flipped_bit_in_the_head_is_refused(tiny_reranker: Path) -> None:
    path = tiny_reranker / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="corrupt"):
        read_head(load_checkpoint(tiny_reranker))


def test_what_is_no_cross_encoder_is_refused(
    tiny_checkpoint: Callable[..., Checkpoint], tiny_reranker: Path, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError, match=r"no cross-encoder.*corom train reranker"):
        Reranker.load(tiny_checkpoint().folder)
    for name, change, said in (
        ("classifier.weight", lambda w: np.tile(w, (3, 1)), r"must hold \(1, 32\)"),
        ("bert.pooler.dense.bias", lambda w: w * np.nan, "finite"),
    ):
        folder = tmp_path / name
        shutil.copytree(tiny_reranker, folder)
        (folder / "manifest.json").unlink()
        tensors = load_file(folder / "model.safetensors")
        tensors[name] = np.ascontiguousarray(change(tensors[name]))
        save_file(tensors, folder / "model.safetensors")
        with pytest.raises(ArtifactError, match=said):
            Reranker.load(folder)


def test_a_pair_is_cut_as_the_tokenizers_library_does(
    tiny_checkpoint: Callable[..., Checkpoint],
) -> None:
    tokenizer_json = tiny_checkpoint().tokenizer_json
    library = Tokenizer.from_str(tokenizer_json)
    vocabulary = library.get_vocab_size()
    rng = np.random.default_rng(1)
    for length, left, right in rng.integers((4, 0, 0), (40, 60, 60), (500, 3)).tolist():
        if min(left, right) > length - 3:
            continue
        library.enable_truncation(length, strategy="longest_first")
        found = PairCutter(tokenizer_json, max_length=length, second_type=vocabulary).cut(
            ["头" * left], ["药" * right]
        )[0]
        wanted = library.encode("头" * left, "药" * right)
        ids = np.array(wanted.ids) + vocabulary * np.array(wanted.type_ids)
        assert found.ids.tolist() == ids.tolist()
        assert found.truncated == (left + right > length - 3)
    cutter = PairCutter(tokenizer_json, max_length=16)
    both = cutter.cut(["头" * 40], ["药" * 39])[0]
    assert both.ids.tolist() == library.encode("头" * 6, "药" * 7).ids
    assert both.truncated
    assert cutter.cut([], []) == []


@pytest.mark.parametrize(
    ("engine", "precision", "close"),
    [("openvino", "fp32", 1e-4), ("openvino", "int8", 0.1), ("torch", "fp32", 1e-4)],
)
@pytest.mark.filterwarnings("ignore:.*int8 keeps")
def test_query_and_passage_may_have_token_types(
    tiny_reranker: Path, engine: EngineName, precision: Precision, close: float
) -> None:
    if engine == "torch":
        pytest.importorskip("torch")
    (tiny_reranker / "manifest.json").unlink()
    path = tiny_reranker / "model.safetensors"
    tensors, name = load_file(path), f"bert.{TOKEN_TYPES}"
    tensors[name] = np.random.default_rng(2).normal(0, 0.5, tensors[name].shape).astype(np.float32)
    save_file(tensors, path)
    checkpoint = load_checkpoint(tiny_reranker)
    weights, head = checkpoint.load_weights(), read_head(checkpoint)
    expected = []
    for query, passage in zip(QUERIES[:3], PASSAGES[:3], strict=True):
        wanted = Tokenizer.from_str(checkpoint.tokenizer_json)
        wanted.enable_truncation(64, strategy="longest_first")
        pair = wanted.encode(query, passage)
        states = hidden_states(weights, checkpoint.shape, ids=pair.ids, types=pair.type_ids)
        expected.append(head.scores(states[-1][:1].astype(np.float32))[0])
    found = Reranker.load(tiny_reranker, engine=engine, precision=precision)
    np.testing.assert_allclose(found.score(QUERIES[:3], PASSAGES[:3]), expected, atol=close)


def test_in_a_second_pass_both_scores_count_by_their_shares(reranker: Reranker) -> None:
    first = [Hit(str(n), -n) for n in range(3)]
    scores = reranker.score(["头痛"] * 3, PASSAGES[:3]).tolist()
    best, worst = max(scores), min(scores)
    expected = {
        str(n): 0.75 * (2 - n) / 2 + 0.25 * (score - worst) / (best - worst)
        for n, score in enumerate(scores)
    }
    second = SecondPass(reranker=reranker, share=0.25)
    texts = {str(n): text for n, text in enumerate(PASSAGES)}
    reorder = lambda found: second.reorder(  # noqa: E731
        ["头痛"] * len(found), found, texts=lambda ids: [texts[id_] for id_ in ids]
    )
    found = reorder([first])[0]
    assert {hit.id: pytest.approx(hit.score, abs=1e-5) for hit in found} == expected
    assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)
    assert reorder([[], first[:1]]) == [[], [Hit("0", 1.0)]]
    assert reorder([]) == []


def test_a_second_pass_reads_the_first_hits_of_each_query(reranker: Reranker) -> None:
    found = [[Hit("0", 4.0), Hit("1", 3.0), Hit("2", 0.5), Hit("4", 0.25)], [Hit("3", 1.0)]]
    asked: list[list[str]] = []

    def texts(ids: Sequence[str]) -> list[str]:
        asked.append(list(ids))
        return [PASSAGES[int(id_)] for id_ in ids]

    second = SecondPass(reranker=reranker, depth=2)
    one, other = second.reorder(["头痛", "发热"], found, texts=texts)
    assert asked == [["0", "1"], ["3"]]
    scores = reranker.score(["头痛"] * 2, PASSAGES[:2]).tolist()
    assert one == second.joined(found[0], scores)
    assert other == [Hit("3", 1.0)]


def test_later_hits_come_below_0_as_far_apart_as_before(reranker: Reranker) -> None:
    hits = [Hit("0", 4.0), Hit("1", 3.0), Hit("2", 0.5), Hit("4", 0.25)]
    second = SecondPass(reranker=reranker, depth=2)
    joined = second.joined(hits, [-7.0, 9.0])
    assert joined == [Hit("0", 0.5), Hit("1", 0.5), Hit("2", -1.0), Hit("4", -1.25)]
    assert second.joined(hits[:2], [-7.0, 9.0]) == joined[:2]


def test_logits_as_numbers_from_0_to_1() -> None:
    logits = np.array([-1e4, -np.log(3), 0, np.log(3), 1e4], np.float32)
    assert squashed(logits).tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=1e-6)


@pytest.mark.parametrize("wrong", [{"depth": 0}, {"depth": 1.5}, {"share": 0}, {"share": 1.1}])
def test_a_second_pass_refuses_wrong_options(reranker: Reranker, wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="rerank"):
        SecondPass(reranker=reranker, **wrong)


def test_equal_pairs_score_alike_whatever_stands_around_them():
    rng = np.random.default_rng(0)
    pooler, vector = rng.normal(size=(512, 512)), rng.normal(size=(1, 512))
    parts = (pooler, np.zeros(512), rng.normal(size=(1, 512)), np.zeros(1))
    head = Head(*(part.astype(np.float32) / 23 for part in parts))
    for count in range(2, 20):
        scores = head.scores(np.repeat(vector.astype(np.float32), count, axis=0))
        assert len(set(scores.tolist())) == 1
