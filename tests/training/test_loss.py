from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from corom.training import loss  # noqa: E402

pytestmark = pytest.mark.torch
NOTHING = torch.zeros(2, 3, dtype=torch.bool)
SCORES = torch.tensor([[0.9, 0.1, 0.5], [0.2, 0.6, 0.7]], dtype=torch.float64)
TARGET = torch.tensor([0, 1])


def share(row, own, temperature, columns):
    return math.exp(row[own] / temperature) / sum(math.exp(row[c] / temperature) for c in columns)


def test_similarities_of_raw_and_unit_vectors():
    queries, passages = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 2.0], [4.0, 3.0]])
    assert loss.similarities(queries, passages, kind="dot").tolist() == [[8.0, 24.0]]
    cosines = loss.similarities(queries, passages, kind="cosine")
    torch.testing.assert_close(cosines, torch.tensor([[0.8, 0.96]]))


def test_info_nce_is_the_mean_cross_entropy():
    expected = -sum(
        math.log(share(row, own, 0.1, range(3)))
        for row, own in zip(SCORES.tolist(), [0, 1], strict=True)
    )
    result = loss.info_nce(SCORES, TARGET, temperature=0.1, hidden=NOTHING)
    assert result.item() == pytest.approx(expected / 2)


def test_hidden_cells_do_not_count_and_the_target_always_does():
    hidden = torch.tensor([[True, False, True], [False, True, True]])
    result = loss.info_nce(SCORES, TARGET, temperature=0.1, hidden=hidden)
    rows = SCORES.tolist()
    expected = -math.log(share(rows[0], 0, 0.1, [0, 1])) - math.log(share(rows[1], 1, 0.1, [0, 1]))
    assert result.item() == pytest.approx(expected / 2)


def test_a_query_with_everything_hidden_costs_nothing_and_gives_no_nan():
    scores = SCORES.clone().requires_grad_()
    hidden = torch.ones(2, 3, dtype=torch.bool)
    result = loss.info_nce(scores, TARGET, temperature=0.01, hidden=hidden)
    result.backward()
    assert result.item() == 0
    assert not scores.grad.any()


def test_known_answers_are_hidden_wherever_they_stand():
    generator = torch.Generator().manual_seed(3)
    passages = torch.randint(-4, 5, (40,), generator=generator)  # 0 is an empty slot
    positives = torch.randint(-9, 10, (6, 5), generator=generator)
    queries, answered = torch.arange(1, 7), torch.randint(0, 9, (40,), generator=generator)
    hidden = loss.false_negatives(queries, positives, passage_keys=passages, answered_keys=answered)
    for query, row in enumerate(hidden.tolist()):
        known = set(positives[query].tolist()) - {0}
        for slot, is_hidden in enumerate(row):
            key = int(passages[slot])
            assert is_hidden == (key == 0 or key in known or int(answered[slot]) == query + 1)
    none = torch.zeros(6, 0, dtype=torch.int64)
    assert not loss.false_negatives(
        queries, none, passage_keys=torch.ones(3).long(), answered_keys=torch.zeros(3).long()
    ).any()


def test_mask_margin_hides_what_beats_the_positive():
    plain = loss.info_nce(SCORES, TARGET, temperature=0.1, hidden=NOTHING)
    likely = loss.likely_answers(SCORES, TARGET, margin=0.05)
    assert likely.int().tolist() == [[0, 0, 0], [0, 0, 1]]  # .7 > .6 + .05
    result = loss.info_nce(SCORES, TARGET, temperature=0.1, hidden=likely)
    assert result.item() < plain.item()
    assert not loss.likely_answers(SCORES, TARGET, margin=0.2).any()


def test_the_other_direction_ranks_queries_for_each_positive():
    result = loss.info_nce_back(SCORES, TARGET, temperature=0.1, hidden=NOTHING)
    columns = SCORES[:, [0, 1]].T.tolist()
    expected = -sum(math.log(share(columns[i], i, 0.1, range(2))) for i in range(2))
    assert result.item() == pytest.approx(expected / 2)


def test_the_other_direction_hides_a_shared_positive():
    hidden = torch.tensor([[False, False, False], [True, False, False]])
    result = loss.info_nce_back(SCORES, TARGET, temperature=0.1, hidden=hidden)
    column = SCORES[:, 1].tolist()
    assert result.item() == pytest.approx(-math.log(share(column, 1, 0.1, range(2))) / 2)


def test_planted_false_negatives_are_found():
    # Queries 1, 2, 1 again; their positives 11, 12, 13; hard negatives 21, 11 (!), none.
    passages = torch.tensor([11, 21, 12, 11, 13, loss.EMPTY])
    answered = torch.tensor([1, loss.EMPTY, 2, loss.EMPTY, 1, loss.EMPTY])
    positives = torch.tensor([[11, loss.EMPTY], [12, 21], [13, loss.EMPTY]])
    hidden = loss.false_negatives(
        torch.tensor([1, 2, 1]), positives, passage_keys=passages, answered_keys=answered
    )
    assert hidden.int().tolist() == [
        [1, 0, 0, 1, 1, 1],  # 11 wherever it stands, and 13: the answer to an equal query
        [0, 1, 1, 0, 0, 1],  # 21 is a known positive of this query
        [1, 0, 0, 0, 1, 1],
    ]


def test_a_planted_false_negative_changes_no_gradient():
    queries = torch.randn(2, 4, dtype=torch.float64)
    passages = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    keys = torch.tensor([11, 12, 11])  # the third is the first query's positive once more
    hidden = loss.false_negatives(
        torch.tensor([1, 2]),
        torch.tensor([[11], [12]]),
        passage_keys=keys,
        answered_keys=torch.tensor([1, 2, loss.EMPTY]),
    )
    scores = loss.similarities(queries, passages, kind="dot")
    loss.info_nce(scores[:1], TARGET[:1], temperature=1.0, hidden=hidden[:1]).backward()
    assert not passages.grad[2].any()
    assert passages.grad[1].any()


def test_imitating_shares_is_zero_for_the_teacher_itself_and_kl_otherwise():
    options = {"temperature": 0.5, "teacher_temperature": 0.5, "hidden": NOTHING}
    assert loss.imitate_shares(SCORES, SCORES, **options).item() == pytest.approx(0, abs=1e-12)
    teacher = SCORES.flip(1)
    result = loss.imitate_shares(SCORES, teacher, **options).item()
    expected = 0.0
    for ours, theirs in zip(SCORES.tolist(), teacher.tolist(), strict=True):
        for column in range(3):
            p, q = share(theirs, column, 0.5, range(3)), share(ours, column, 0.5, range(3))
            expected += p * math.log(p / q)
    assert result == pytest.approx(expected / 2)


def test_imitating_shares_ignores_hidden_cells():
    hidden = torch.tensor([[False, False, True], [False, False, False]])
    teacher = SCORES.clone()
    teacher[0, 2] = 99.0
    result = loss.imitate_shares(
        SCORES, teacher, temperature=0.5, teacher_temperature=0.5, hidden=hidden
    )
    assert result.item() == pytest.approx(0, abs=1e-12)


def test_margin_mse_counts_shown_negatives_only():
    scores = torch.tensor([[1.0, 0.5, 9.0], [1.0, 0.0, 0.5]])
    teacher = torch.tensor([[2.0, 0.5, 0.0], [1.0, 0.0, 0.0]])
    shown = torch.tensor([[True, True, False], [True, True, True]])
    expected = (1.0**2 + 0.0**2 + 0.5**2) / 3
    assert loss.margin_mse(scores, teacher, shown=shown).item() == pytest.approx(expected)
    nothing = torch.tensor([[True, False, False]] * 2)
    assert loss.margin_mse(scores, teacher, shown=nothing).item() == 0


def test_imitating_vectors():
    ours, theirs = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[2.0, 0.0], [1.0, 0.0]])
    assert loss.imitate_vectors(ours, theirs, kind="cosine").item() == pytest.approx(0.5)
    assert loss.imitate_vectors(ours, theirs, kind="mse").item() == pytest.approx((1 + 2) / 2)


def test_cosent_punishes_wrong_order_only():
    labels = torch.tensor([1.0, 0.0, 0.0])
    similarity = torch.tensor([0.5, 0.4, 0.9], dtype=torch.float64)
    result = loss.cosent(similarity, labels, scale=20.0)
    expected = math.log(1 + math.exp(20 * (0.4 - 0.5)) + math.exp(20 * (0.9 - 0.5)))
    assert result.item() == pytest.approx(expected)
    assert loss.cosent(similarity, torch.ones(3), scale=20.0).item() == 0
