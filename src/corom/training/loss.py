"""What a batch is judged by: pure functions of tensors, no model and no process in sight.

`scores` is (queries, passages); `target` the column of each query's positive; `hidden` the cells
that must not count as negatives. Every function returns a scalar, the mean over its rows.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from torch import Tensor

# Low enough to vanish from a softmax, finite so that nothing becomes NaN.
_NEVER = -1e9

EMPTY = 0
"""The key of a passage slot that holds no passage."""


def similarities(queries: Tensor, passages: Tensor, *, kind: Literal["cosine", "dot"]) -> Tensor:
    """Return the (queries, passages) cosines or dot products of rows of vectors."""
    if kind == "cosine":
        queries, passages = F.normalize(queries, dim=1), F.normalize(passages, dim=1)
    return queries @ passages.T


def false_negatives(
    query_keys: Tensor, positive_keys: Tensor, *, passage_keys: Tensor, answered_keys: Tensor
) -> Tensor:
    """Return (queries, passages) True where a passage must not be a query's negative.

    Keys stand for texts: equal text, equal key. Hidden are empty slots, every passage known to
    be a positive of the query (`positive_keys`, queries x any, filled up with EMPTY), and the
    positive of an equal query (`answered_keys`: the query a passage is the positive of, or
    EMPTY). The query's own positive is hidden too: the losses know the target.
    """
    # A query of a thousand answers must not make the table a thousand times as large.
    unique, inverse = passage_keys.unique(return_inverse=True)
    rows, slots = (positive_keys != EMPTY).nonzero(as_tuple=True)
    wanted = positive_keys[rows, slots]
    places = torch.searchsorted(unique, wanted).clamp(max=len(unique) - 1)
    there = unique[places] == wanted
    known = torch.zeros((len(query_keys), len(unique)), dtype=torch.bool, device=query_keys.device)
    known[rows[there], places[there]] = True
    known = known[:, inverse]
    same_query = query_keys[:, None] == answered_keys[None, :]
    return known | same_query | (passage_keys == EMPTY)[None, :]


def _without(hidden: Tensor, target: Tensor) -> Tensor:
    """Return `hidden` with the targets shown."""
    return hidden.scatter(1, target[:, None], value=False)


def _log_shares(scores: Tensor, *, temperature: float, hidden: Tensor) -> Tensor:
    return F.log_softmax((scores / temperature).masked_fill(hidden, _NEVER), dim=1)


def likely_answers(scores: Tensor, target: Tensor, *, margin: float) -> Tensor:
    """Return True where a passage scores above the query's positive by more than the margin."""
    positive = scores.gather(1, target[:, None])
    return (scores > positive + margin).detach()


def info_nce(scores: Tensor, target: Tensor, *, temperature: float, hidden: Tensor) -> Tensor:
    """Return the cross entropy of the positive among all shown passages (van den Oord, 2018)."""
    shares = _log_shares(scores, temperature=temperature, hidden=_without(hidden, target))
    return F.nll_loss(shares, target)


def info_nce_back(scores: Tensor, target: Tensor, *, temperature: float, hidden: Tensor) -> Tensor:
    """Return the cross entropy of the query among all queries, given its positive."""
    own = torch.arange(len(target), device=target.device)
    back = hidden.index_select(1, target).T
    return info_nce(scores.index_select(1, target).T, own, temperature=temperature, hidden=back)


def imitate_shares(
    scores: Tensor,
    teacher_scores: Tensor,
    *,
    temperature: float,
    teacher_temperature: float,
    hidden: Tensor,
) -> Tensor:
    """Return the KL divergence from the teacher's softmax over the shown passages to ours.

    A positive is as hidden as any cell here: show it in `hidden` if it shall count.
    """
    ours = _log_shares(scores, temperature=temperature, hidden=hidden)
    theirs = _log_shares(teacher_scores, temperature=teacher_temperature, hidden=hidden)
    return F.kl_div(ours, theirs, reduction="batchmean", log_target=True)


def margin_mse(scores: Tensor, teacher_scores: Tensor, *, shown: Tensor) -> Tensor:
    """Return the squared error of positive minus negative against the teacher's (2010.02666).

    Here `scores` is (queries, own passages), the positive first; `shown` False at empty slots.
    """
    ours, theirs = (table[:, :1] - table[:, 1:] for table in (scores, teacher_scores))
    errors = (ours - theirs).square() * shown[:, 1:]
    return errors.sum() / shown[:, 1:].sum().clamp(min=1)


def imitate_vectors(vectors: Tensor, teacher: Tensor, *, kind: Literal["cosine", "mse"]) -> Tensor:
    """Return the mean of 1 - cosine, or of the squared distance, to the teacher's vectors."""
    if kind == "cosine":
        return (1 - F.cosine_similarity(vectors, teacher)).mean()
    return (vectors - teacher).square().sum(1).mean()


def cosent(similarity: Tensor, labels: Tensor, *, scale: float) -> Tensor:
    """Return log(1 + sum of exp(scale * (s_j - s_i)) over pairs of pairs labelled i above j).

    Su Jianlin's CoSENT (kexue.fm/archives/8847): graded pairs in, only their order counts.
    """
    differences = scale * (similarity[None, :] - similarity[:, None])
    above = labels[:, None] > labels[None, :]
    flat = differences.masked_fill(~above, _NEVER).flatten()
    return torch.logsumexp(torch.cat([flat.new_zeros(1), flat]), dim=0)
