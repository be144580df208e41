"""Pairs of texts with labels: whether a higher similarity goes with a higher label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corom.errors import InputError
from corom.evaluation.dense import Dense
from corom.evaluation.evaluate import check_names
from corom.evaluation.kept import Describing
from corom.readers import Pair, read_pairs
from corom.readers.compression import plain_name
from corom.readers.dataset import checksum
from corom.vectors import cosines

PAIR_MEASURES = ("AUC", "Spearman")
PAIR_HEADS = (*PAIR_MEASURES, "threshold", "right")


def pair_metrics(scores: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """Return `AUC` and `Spearman` of scores, `(n,)`, against labels, `(n,)`.

    AUC: how often a pair with a label of 1 or more scores above one with 0, a tie counting half
    (Mann, Whitney 1947). Spearman: the correlation of the ranks, equal values sharing their mean
    rank. Raises InputError for other shapes, NaN, and labels or scores that are all alike.
    """
    given, wanted = _checked(scores, labels)
    alike = wanted >= 1
    positives = int(alike.sum())
    if not 0 < positives < len(wanted):
        raise InputError(
            f"{positives} of {len(wanted)} pairs have a label above 0; both are needed"
        )
    ranks, label_ranks = _ranks(given), _ranks(wanted)
    if given.min() == given.max():
        raise InputError("all scores are equal; there is no correlation to measure")
    wins = ranks[alike].sum() - positives * (positives + 1) / 2
    return {
        "AUC": float(wins / (positives * (len(wanted) - positives))),
        "Spearman": float(np.corrcoef(ranks, label_ranks)[0, 1]),
    }


def _checked(
    scores: ArrayLike, labels: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    given, wanted = np.asarray(scores, np.float64), np.asarray(labels, np.float64)
    if given.ndim != 1 or given.shape != wanted.shape:
        raise InputError(f"scores {given.shape} and labels {wanted.shape}; give one of each a pair")
    if not (np.isfinite(given).all() and np.isfinite(wanted).all()):
        raise InputError("a score or a label is NaN or infinite")
    return given, wanted


class Threshold(NamedTuple):
    """The score from which on two texts are best taken for the same."""

    score: float
    accuracy: float
    """share of these pairs that it tells right; of new ones it is a little less"""


def best_threshold(scores: ArrayLike, labels: ArrayLike) -> Threshold:
    """Return the threshold that tells most pairs right, of equals the lowest.

    Labels as in `pair_metrics`, which refuses the same; InputError for no pairs, too.
    """
    given, wanted = _checked(scores, labels)
    if not len(given):
        raise InputError("there are no pairs")
    alike = wanted >= 1
    order = np.argsort(given, kind="stable")
    sorted_, same = given[order], alike[order]
    below = np.concatenate([[0], np.cumsum(~same)])
    above = same.sum() - np.concatenate([[0], np.cumsum(same)])
    # Before each score that differs from the one before it, and above all of them.
    places = np.flatnonzero(np.append(np.insert(np.diff(sorted_) > 0, 0, True), True))
    right = (below + above)[places] / len(given)
    best = int(right.argmax())
    cuts = np.append(sorted_, np.nextafter(sorted_[-1], np.inf))[places]
    return Threshold(float(cuts[best]), float(right[best]))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ranks from 1, equal values sharing their mean rank."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    means: NDArray[np.float64] = np.cumsum(counts) - (counts - 1) / 2
    return means[group]


@dataclass(frozen=True, kw_only=True)
class PairResult:
    """The figures of one model on one file of pairs."""

    split: str
    model: str
    settings: Describing
    pairs: int
    means: Mapping[str, float]
    threshold: Threshold


@dataclass(frozen=True, kw_only=True)
class PairReport:
    """All figures on a set of pairs; `results` are in the order of the splits."""

    dataset: str
    checksum: str
    results: tuple[PairResult, ...]


def pair_files(path: Path) -> dict[str, Path]:
    """Return the files of labelled pairs at `path` by split: the name without its endings.

    A file of its own, or a folder in which every file is a .tsv and none has a name that data sets
    for retrieval use; else nothing.
    """
    path = Path(path)
    files = [path] if path.is_file() else sorted(path.glob("[!.]*"))
    plain = [plain_name(file.name) for file in files]
    taken = ("corpus", "collection", "queries", "qrels")
    of_pairs = (n.lower().endswith(".tsv") and not n.startswith(taken) for n in plain)
    if path.is_dir() and not all(of_pairs):
        return {}
    return {Path(name).stem: file for name, file in zip(plain, files, strict=True)}


def evaluate_pairs(
    files: Mapping[str, Path], models: Sequence[Dense], *, splits: Sequence[str]
) -> PairReport:
    """Return how well the cosine of each pair's vectors, both encoded as queries, fits its label.

    `files` as `pair_files` returns them. Raises InputError for unknown names and a pair without a
    label, what `pair_metrics` raises, and FormatError for a line that is no pair.
    """
    check_names([model.name for model in models], splits)
    results = []
    for split in splits:
        if split not in files:
            raise InputError(f"there is no split {split!r}; there are {', '.join(files)}")
        path = files[split]
        pairs = list(read_pairs(path))
        labels = [pair.label for pair in pairs if pair.label is not None]
        if len(labels) < len(pairs):
            raise InputError(f"{path}: {len(pairs) - len(labels)} pairs have no label")
        results += [_result(split, model, pairs, labels) for model in models]
    return PairReport(
        dataset=next(iter(files.values())).parent.resolve().name,
        checksum=checksum({path.name: path for path in files.values()}),
        results=tuple(results),
    )


def _result(split: str, model: Dense, pairs: Sequence[Pair], labels: Sequence[int]) -> PairResult:
    left = model.vectors((pair.query for pair in pairs), side="query")
    right = model.vectors((pair.positive for pair in pairs), side="query")
    parts = [cosines(*both) for both in zip(left, right, strict=True)]
    scores = np.concatenate(parts) if parts else np.empty(0)
    return PairResult(
        split=split,
        model=model.name,
        settings=model.settings,
        pairs=len(pairs),
        means=pair_metrics(scores, labels),
        threshold=best_threshold(scores, labels),
    )
