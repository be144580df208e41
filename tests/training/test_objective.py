from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from tokenizers import Tokenizer

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from corom.models.checkpoint import load_checkpoint  # noqa: E402
from corom.training.batches import Texts, TokenFeed, make_batch, make_cutters, restored  # noqa: E402
from corom.training.examples import Drawn, GradedRow, text_key  # noqa: E402
from corom.training.objective import Objective, cells, joined  # noqa: E402
from corom.training.processes import start_accelerator  # noqa: E402
from corom.training.run_settings import RunSettings  # noqa: E402
from corom.training.settings import LossSettings  # noqa: E402

pytestmark = pytest.mark.torch

DRAWN = [
    Drawn("头痛吃什么药", "休息", ("手术", "检查")),
    Drawn("咳嗽多久", "吃药", ()),
    Drawn("头痛吃什么药", "注意饮食", ("休息",)),
]
KNOWN = [("休息",), ("吃药", "手术"), ("注意饮食", "休息")]
GRADED = [GradedRow("发热", "发热多久", 1.0), GradedRow("发热", "手术", 0.0)]


@pytest.fixture
def cutters(tiny_checkpoint):
    return make_cutters(tiny_checkpoint(), query_length=32, passage_length=32)


@pytest.fixture
def batch(cutters):
    return make_batch(DRAWN, KNOWN, negatives=2, feed=TokenFeed(cutters, 0), graded=GRADED)


@pytest.fixture
def accelerator():
    return start_accelerator(RunSettings(device="cpu"))


def test_each_side_is_cut_with_its_own_prefix_suffix_and_length(tiny_checkpoint):
    checkpoint = tiny_checkpoint(query_prefix="查", passage_prefix="药")
    encoding = replace(checkpoint.encoding, query_suffix="。", passage_suffix="，")
    cutters = make_cutters(
        replace(checkpoint, encoding=encoding), query_length=6, passage_length=10_000
    )
    tokenizer = Tokenizer.from_str(checkpoint.tokenizer_json)
    found = Texts(("头痛", "头" * 99), ("头痛", "头" * 600)).cut(cutters)
    expected = ["[CLS]查头痛[SEP]。", "[CLS]查头头头。", "[CLS]药头痛[SEP]，"]
    for ids, wanted in zip(found, expected, strict=False):
        assert ids.tolist() == tokenizer.encode(wanted, add_special_tokens=False).ids
    assert len(found[3]) == checkpoint.shape.positions


def test_a_batch_holds_its_texts_in_order(batch):
    assert batch.texts.queries == (
        *(one.query for one in DRAWN),
        *("发热", "发热", "发热多久", "手术"),
    )
    assert batch.texts.passages == ("休息", "手术", "检查", "吃药", "注意饮食", "休息")
    assert sum(map(len, batch.chunks.order)) == 13
    assert batch.passage_keys.tolist() == [
        [text_key("休息"), text_key("手术"), text_key("检查")],
        [text_key("吃药"), 0, 0],
        [text_key("注意饮食"), text_key("休息"), 0],
    ]
    assert batch.labels.tolist() == [1.0, 0.0]


def test_false_negatives_of_a_batch_are_hidden(batch, accelerator):
    where = cells(batch, accelerator=accelerator)
    assert where.target.tolist() == [0, 3, 6]
    # columns:      休息 手术 检查 | 吃药 - - | 注意饮食 休息 -
    assert where.hidden.int().tolist() == [
        [1, 0, 0, 0, 1, 1, 1, 1, 1],  # its answer twice, and the answer to the same question
        [0, 1, 0, 1, 1, 1, 0, 0, 1],  # 手术 answers it too
        [1, 0, 0, 0, 1, 1, 1, 1, 1],
    ]
    assert where.shown.int().tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]


def test_a_likely_answer_is_hidden_in_both_directions(cutters, accelerator):
    drawn = [Drawn("头痛", "休息", ()), Drawn("咳嗽", "吃药", ())]
    feed = TokenFeed(cutters, 0)
    batch = make_batch(drawn, [("休息",), ("吃药",)], negatives=0, feed=feed)
    # The first query is nearer to the second's answer than to its own by .8 - .6.
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.8, 0.6]])

    def judged(**options):
        chosen = LossSettings(temperature=0.1, both_directions=True, **options)
        return Objective(chosen, accelerator=accelerator)(vectors, batch, teachers=[], base=None)

    def share(own, other):
        return -torch.log_softmax(torch.tensor([own, other]) / 0.1, 0)[0].item()

    # Both rows beat their own by 0.2, so with the margin nothing is left to be told apart.
    assert judged(mask_margin=0.1).item() == 0
    assert judged(mask_margin=0.3).item() == judged().item() == pytest.approx(share(0.6, 0.8))


def test_vectors_find_their_places(batch, accelerator):
    vectors = torch.arange(1.0, 14.0)[:, None]
    joint = joined(vectors, batch, accelerator=accelerator)
    assert joint.queries.flatten().tolist() == [1, 2, 3]
    assert joint.left.flatten().tolist() == [4, 5]
    assert joint.right.flatten().tolist() == [6, 7]
    assert joint.passages.flatten().tolist() == [8, 9, 10, 11, 0, 0, 12, 13, 0]


@pytest.mark.parametrize("at_once", [0, 1, 4, 99])
def test_chunks_come_back_in_order(batch, cutters, at_once):
    parts, chunks = TokenFeed(cutters, at_once)(batch.texts)
    lengths = [length for part in parts for length in part.lengths.tolist()]
    assert lengths == sorted(lengths, reverse=True)
    assert len(chunks) == {0: 1, 1: 13, 4: 4, 99: 1}[at_once]
    marks = torch.cat([torch.tensor(rows, dtype=torch.float32)[:, None] for rows in chunks])
    assert restored(marks, chunks).flatten().tolist() == list(range(13))


def test_a_text_is_cut_once_on_each_side(cutters, monkeypatch):
    cut = {"query": [], "passage": []}
    for side, texts in cut.items():
        own = getattr(cutters, side)
        real = own.cut
        monkeypatch.setattr(
            own, "cut", lambda new, real=real, texts=texts: texts.append(new) or real(new)
        )
    feed = TokenFeed(cutters, 0)
    texts = Texts(("头痛", "咳嗽", "头痛"), ("咳嗽", "手术"))
    first = feed(texts)
    assert cut == {"query": [["头痛", "咳嗽"]], "passage": [["咳嗽", "手术"]]}
    again = feed(texts)
    more = feed(Texts(("手术", "头痛"), ("手术",)))
    assert [text for new in cut["query"] for text in new] == ["头痛", "咳嗽", "手术"]
    assert [text for new in cut["passage"] for text in new] == ["咳嗽", "手术"]
    for found, fresh in (
        (again, first),
        (more, TokenFeed(cutters, 0)(Texts(("手术", "头痛"), ("手术",)))),
    ):
        for part, other in zip(found.parts, fresh.parts, strict=True):
            assert torch.equal(part.ids, other.ids)
            assert torch.equal(part.lengths, other.lengths)


class TestParts:
    """Each part of the loss alone, by hand; then all of them together."""

    @pytest.fixture
    def models(self):
        """The vectors by four models of 3 queries, 4 sides of graded pairs, 6 passages."""
        return torch.randn(4, 13, 8, generator=torch.Generator().manual_seed(2)).double()

    @pytest.fixture
    def judged(self, batch, accelerator):
        def judge(vectors, *, taught=(), base=None, reranked=None, **options):
            settings = LossSettings(
                **{"contrast_weight": 0.0, "temperature": 0.3, **options},
                teachers=("t",) * len(taught),
                reranker="" if reranked is None else "r",
            )
            objective = Objective(settings, accelerator=accelerator)
            given = {"teachers": taught, "base": base, "reranked": reranked}
            return objective(vectors, batch, **given).item()

        return judge

    @staticmethod
    def cosines(vectors, dim=8):
        return torch.cosine_similarity(vectors[:3, None, :dim], vectors[None, 7:, :dim], dim=2)

    @staticmethod
    def divergence(ours, theirs):
        ours, theirs = ours.log_softmax(-1), theirs.log_softmax(-1)
        return (theirs.exp() * (theirs - ours)).sum().item()

    def test_contrast(self, judged, models):
        def entropy(*scores):
            return sum(-(row / 0.3).log_softmax(0)[0].item() for row in scores) / 3

        found = 0.0
        for dim in (8, 3):
            scores = self.cosines(models[0], dim)
            # What is hidden is what the test of false negatives has.
            shown = ([0, 1, 2, 3], [3, 0, 2, 4, 5], [4, 1, 2, 3])
            forth = entropy(*(scores[query, row] for query, row in enumerate(shown)))
            back = entropy(scores[[0, 1], 0], scores[[1, 0, 2], 3], scores[[2, 1], 4])
            found += (forth + back) / 2 / 2
        options = {"contrast_weight": 0.7, "both_directions": True, "matryoshka": (3, 8, 9)}
        assert judged(models[0], **options) == pytest.approx(0.7 * found)

    def test_vectors_of_the_base_and_of_a_teacher(self, judged, models):
        def mean(errors):
            return sum(part.mean().item() for part in errors.split([3, 4, 6])) / 3

        apart = mean(1 - torch.cosine_similarity(*models[:2], dim=1))
        assert judged(models[0], base=models[1], base_weight=0.7) == pytest.approx(0.7 * apart)
        settings = {"taught": models[1:2], "teacher_weight": 0.7}
        found = judged(models[0], **settings, teacher_loss="cosine")
        assert found == pytest.approx(0.7 * apart)
        unit = torch.nn.functional.normalize(models[0], dim=1)
        squares = mean((unit - models[1]).square().sum(1))
        found = judged(models[0], **settings, teacher_loss="mse")
        assert found == pytest.approx(0.7 * squares)

    def test_scores_of_teachers(self, judged, models):
        theirs = (self.cosines(models[1]) + self.cosines(models[2])) / 2
        shares = margins = 0.0
        for dim in (8, 3):
            ours = self.cosines(models[0], dim)
            shares += self.divergence(ours / 0.3, theirs / 0.2) / 3 / 2
            for row, own, other in ((0, 0, 1), (0, 0, 2), (2, 4, 5)):
                error = (ours - theirs)[row, own] - (ours - theirs)[row, other]
                margins += error.square().item() / 3 / 2
        settings = {"taught": models[1:3], "teacher_weight": 0.7, "matryoshka": (3,)}
        found = judged(models[0], **settings, teacher_temperature=0.2)
        assert found == pytest.approx(0.7 * shares)
        found = judged(models[0], **settings, teacher_loss="margin_mse")
        assert found == pytest.approx(0.7 * margins)

    def test_scores_of_a_reranker(self, judged, models):
        wanted = torch.tensor([[3.0, 1.0, 2.0], [1.0, 99.0, 99.0], [0.0, 5.0, 99.0]]).double()
        found = 0.0
        for dim in (8, 3):
            scores = self.cosines(models[0], dim) / 0.3
            found += self.divergence(scores[0, :3], wanted[0] / 4) / 3 / 2
            found += self.divergence(scores[2, 4:], wanted[2, :2] / 4) / 3 / 2
        options = {"reranker_weight": 0.7, "reranker_temperature": 4.0, "matryoshka": (3,)}
        assert judged(models[0], reranked=wanted, **options) == pytest.approx(0.7 * found)

    def test_graded_pairs(self, judged, models):
        equal, other = torch.cosine_similarity(models[0, 3:5], models[0, 5:7], dim=1).tolist()
        expected = 0.7 * math.log(1 + math.exp(9 * (other - equal)))
        found = judged(models[0], graded_weight=0.7, graded_scale=9.0)
        assert found == pytest.approx(expected)

    def test_they_are_added_up(self, judged, models):
        parts = (
            {"contrast_weight": 0.5},
            {"taught": models[1:2], "teacher_weight": 0.6},
            {"reranked": torch.ones(3, 3).double(), "reranker_weight": 0.7},
            {"base": models[2], "base_weight": 0.8},
            {"graded_weight": 0.9},
        )
        alone = sum(judged(models[0], **part) for part in parts)
        together = {name: value for part in parts for name, value in part.items()}
        assert judged(models[0], **together) == pytest.approx(alone)

    def test_dot_products_are_those_of_the_vectors_as_they_are(self, judged, models):
        ours, theirs = (one[:3] @ one[7:].T for one in models[:2])
        settings = {"taught": models[1:2], "teacher_weight": 1.0, "teacher_temperature": 0.2}
        found = judged(models[0], **settings, similarity="dot")
        assert found == pytest.approx(self.divergence(ours / 0.3, theirs / 0.2) / 3)


SCRIPT = """
import json, sys
import torch
sys.path.insert(0, sys.argv[3])
from test_objective import joint_gradient
found = joint_gradient(sys.argv[2])
if found is not None:
    with open(sys.argv[1], "w") as file:
        json.dump(found, file)
"""


def joint_gradient(folder):
    """The loss of four queries over all processes, and its gradient as DDP averages it."""
    accelerator = start_accelerator(RunSettings(device="cpu"))
    share = slice(accelerator.process_index, None, accelerator.num_processes)
    drawn = [*DRAWN, Drawn("高血压", "少吃", ("多吃", "手术"))]
    known = [*KNOWN, ("少吃",)]
    graded = [*GRADED, GradedRow("头痛", "头痛药", 2.0), GradedRow("肝", "肾", 0.0)]
    cutters = make_cutters(load_checkpoint(folder), query_length=32, passage_length=32)
    batch = make_batch(
        drawn[share], known[share], negatives=2, feed=TokenFeed(cutters, 0), graded=graded[share]
    )
    weight = torch.randn(60, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weight.requires_grad_()

    def vectors(rotation):
        tokens = batch.texts.cut(cutters)
        return torch.stack([weight[ids % 60].mean(0) for ids in tokens]).roll(rotation, 1)

    settings = LossSettings(
        temperature=0.3,
        both_directions=True,
        mask_margin=0.4,
        matryoshka=(3,),
        teachers=("t",),
        teacher_weight=0.5,
        teacher_temperature=0.2,
        reranker="r",
        reranker_weight=0.6,
        base_weight=0.7,
        graded_weight=0.9,
    )
    objective = Objective(settings, accelerator=accelerator)
    loss = objective(
        vectors(0),
        batch,
        teachers=[vectors(1).detach()],
        base=vectors(2).detach(),
        reranked=(batch.passage_keys % 7).double(),
    )
    loss.backward()
    gradient = accelerator.reduce(weight.grad, "mean")
    return [loss.item(), gradient.tolist()] if accelerator.is_main_process else None


@pytest.mark.slow
def test_two_processes_have_the_gradient_of_the_joint_batch(
    tiny_checkpoint, tmp_path, run_python, request
):
    folder = str(tiny_checkpoint().folder)
    target = tmp_path / "found.json"
    done = run_python(SCRIPT, str(target), folder, str(request.path.parent), processes=2)
    assert done.returncode == 0, done.stderr[-3000:]
    loss, gradient = json.loads(target.read_text())
    # Rows dealt out to two processes come together as 0 2 | 1 3: the loss is a mean over rows.
    expected_loss, expected = joint_gradient(folder)
    assert loss == pytest.approx(expected_loss, abs=1e-9)
    torch.testing.assert_close(torch.tensor(gradient), torch.tensor(expected), atol=1e-7, rtol=1e-5)
