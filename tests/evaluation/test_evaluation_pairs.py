from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corom.encoder import Encoder
from corom.errors import FormatError, InputError
from corom.evaluation import Dense, best_threshold, evaluate_pairs, pair_files, pair_metrics
from corom.similarity import score_pairs

PAIRS = [("糖尿病吃什么", "糖尿病饮食", 2), ("头痛", "发热", 0), ("高血压", "高血压药", 1)]


def write_pairs(path: Path, pairs: list[tuple] = PAIRS) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join("\t".join(map(str, pair)) + "\n" for pair in pairs), encoding="utf-8")
    return path


def test_metrics_by_hand() -> None:
    # Of the four (positive, negative) pairs 0.9 wins two, 0.4 wins one and ties once.
    found = pair_metrics([0.9, 0.4, 0.4, 0.1], [1, 1, 0, 0])
    assert found["AUC"] == (1 + 1 + 1 + 0.5) / 4
    # Ranks 4, 2.5, 2.5, 1 against 3.5, 3.5, 1.5, 1.5.
    assert found["Spearman"] == pytest.approx(3 / np.sqrt(4.5 * 4))
    assert pair_metrics([1, 2, 3], [0, 1, 2]) == pytest.approx({"AUC": 1, "Spearman": 1})
    assert pair_metrics([3, 2, 1], [0, 1, 2]) == pytest.approx({"AUC": 0, "Spearman": -1})


@given(st.lists(st.tuples(st.integers(-4, 4), st.integers(0, 2)), min_size=3, max_size=30))
def test_metrics_are_those_of_the_definition(pairs: list[tuple[int, int]]) -> None:
    scores, labels = (np.array(each) for each in zip(*pairs, strict=True))
    positive, negative = scores[labels >= 1], scores[labels < 1]
    if not len(positive) or not len(negative) or scores.min() == scores.max():
        with pytest.raises(InputError):
            pair_metrics(scores, labels)
        return
    found = pair_metrics(scores, labels)
    wins = (positive[:, None] > negative) + (positive[:, None] == negative) / 2
    assert found["AUC"] == pytest.approx(wins.mean())

    def ranks(values: np.ndarray) -> np.ndarray:
        return np.array([(values < v).sum() + ((values == v).sum() + 1) / 2 for v in values])

    expected = np.corrcoef(ranks(scores), ranks(labels))[0, 1]
    assert found["Spearman"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("scores", "labels"),
    [
        ([], []),
        ([1], [1]),
        ([1, 2], [1, 1]),
        ([1, 2], [0, 0]),
        ([1, 1], [0, 1]),
        ([1, float("nan")], [0, 1]),
        ([1, 2], [0, float("inf")]),
        ([1, 2, 3], [0, 1]),
        ([[1, 2]], [[0, 1]]),
    ],
)
def test_what_cannot_be_measured_is_refused(scores: list, labels: list) -> None:
    with pytest.raises(InputError):
        pair_metrics(scores, labels)


@pytest.mark.parametrize(
    ("scores", "labels", "score", "accuracy"),
    [
        ([0.9, 0.8, 0.3, 0.2], [1, 2, 0, 0], 0.8, 1.0),
        ([0.9, 0.3, 0.8, 0.2], [1, 1, 0, 0], 0.3, 0.75),
        ([0.5, 0.5, 0.5], [1, 1, 0], 0.5, 2 / 3),  # no threshold lies between equal scores
        ([0.5, 0.5, 0.5], [1, 0, 0], np.nextafter(0.5, 1), 2 / 3),
        ([0.5, 0.5, 0.5, 0.1], [1, 0, 0, 1], 0.1, 0.5),
    ],
)
def test_the_best_threshold(scores: list, labels: list, score: float, accuracy: float) -> None:
    found = best_threshold(scores, labels)
    assert found == (score, pytest.approx(accuracy))
    told = (np.array(scores) >= found.score) == (np.array(labels) >= 1)
    assert told.mean() == pytest.approx(accuracy)


@pytest.mark.parametrize(
    ("scores", "labels"), [([], []), ([1, float("nan")], [0, 1]), ([1, 2, 3], [0, 1])]
)
def test_no_threshold_of_what_cannot_be_measured(scores: list, labels: list) -> None:
    with pytest.raises(InputError):
        best_threshold(scores, labels)


def test_pairs_are_recognised_by_their_files(tmp_path: Path) -> None:
    one = write_pairs(tmp_path / "q" / "qq-dev.tsv")
    two = write_pairs(tmp_path / "q" / "qqr.dev.TSV")
    assert pair_files(tmp_path / "q") == {"qq-dev": one, "qqr.dev": two}
    assert pair_files(one) == {"qq-dev": one}
    bare = write_pairs(tmp_path / "bare")
    assert pair_files(bare) == {"bare": bare}
    (tmp_path / "q" / ".hidden").write_text("")
    assert len(pair_files(tmp_path / "q")) == 2
    for name in ("corpus.tsv", "qrels.dev.tsv", "README.md"):
        (tmp_path / "q" / name).write_text("")
        assert pair_files(tmp_path / "q") == {}
        (tmp_path / "q" / name).unlink()
    (tmp_path / "empty").mkdir()
    assert pair_files(tmp_path / "empty") == {}
    assert pair_files(tmp_path / "nowhere") == {}


def test_the_figures_are_those_of_the_cosines(
    dense: Callable[..., Dense], encoder: Encoder, tmp_path: Path
) -> None:
    files = pair_files(write_pairs(tmp_path / "pairs" / "dev.tsv"))
    report = evaluate_pairs(files, [dense(), dense("short", truncate_dim=4)], splits=["dev"])
    left, right, labels = zip(*PAIRS, strict=True)
    vectors = encoder.encode_queries(left), encoder.encode_queries(right)
    expected = pair_metrics(score_pairs(*vectors, score="cosine"), labels)
    first, second = report.results
    assert first.means == pytest.approx(expected)
    assert (first.split, first.model, first.pairs) == ("dev", "tiny", 3)
    short = score_pairs(vectors[0][:, :4], vectors[1][:, :4], score="cosine")
    assert second.means == pytest.approx(pair_metrics(short, labels))
    assert report.dataset == "pairs"


def test_wrong_pairs_are_refused(dense: Callable[..., Dense], tmp_path: Path) -> None:
    files = pair_files(write_pairs(tmp_path / "dev.tsv", [("头痛", "发热"), ("头痛", "咳嗽")]))
    with pytest.raises(InputError, match="2 pairs have no label"):
        evaluate_pairs(files, [dense()], splits=["dev"])
    for splits, message in (([], "no split"), (["test"], "no split 'test'")):
        with pytest.raises(InputError, match=message):
            evaluate_pairs(files, [dense()], splits=splits)
    with pytest.raises(InputError, match="no model"):
        evaluate_pairs(files, [], splits=["dev"])
    files = pair_files(write_pairs(tmp_path / "bad.tsv", [("头痛",)]))
    with pytest.raises(FormatError, match="line 1"):
        evaluate_pairs(files, [dense()], splits=["bad"])
    files = pair_files(write_pairs(tmp_path / "none.tsv", []))
    with pytest.raises(InputError, match="0 of 0"):
        evaluate_pairs(files, [dense()], splits=["none"])
