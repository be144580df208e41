from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from corom import Reranker  # noqa: E402
from corom.training.batches import TokenFeed, make_batch, make_cutters  # noqa: E402
from corom.training.examples import Drawn  # noqa: E402
from corom.training.pair_scores import PairScores  # noqa: E402

pytestmark = pytest.mark.torch

DRAWN = [
    Drawn("头痛", "吃药", ("手术", "饮食")),
    Drawn("发热", "休息", ()),
    Drawn("头痛", "检查", ("吃药",)),
]


def test_every_passage_has_its_score_and_a_pair_is_read_once(tiny_reranker, tiny_checkpoint):
    reranker = Reranker.load(tiny_reranker, precision="fp32")
    cutters = make_cutters(tiny_checkpoint(), query_length=16, passage_length=16)
    known = [(example.positive,) for example in DRAWN]
    batch = make_batch(DRAWN, known, negatives=2, feed=TokenFeed(cutters, 0))
    read = []
    score = reranker.score
    reranker.score = lambda left, right: (
        read.append(list(zip(left, right, strict=True))) or score(left, right)
    )
    scores = PairScores(reranker)
    found = scores.of(batch)
    expected = torch.zeros(3, 3)
    for row, example in enumerate(DRAWN):
        for slot, passage in enumerate((example.positive, *example.negatives)):
            expected[row, slot] = float(score([example.query], [passage])[0])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert read == [
        [("头痛", "吃药"), ("头痛", "手术"), ("头痛", "饮食"), ("发热", "休息"), ("头痛", "检查")]
    ]
    assert torch.equal(scores.of(batch), found)
    assert read[1:] == [[]]
