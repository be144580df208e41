"""From the vectors of a batch to one number: gathered over all processes, weighted, summed.

Every process computes the loss of the joint batch. Gathering passes the gradient on to a
process's own vectors only, times the number of processes, because DDP averages the gradients of
the weights: so the sum over processes is the gradient of the joint loss, exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from accelerate import Accelerator
from torch import Tensor

from corom.training import loss
from corom.training.batches import TrainBatch
from corom.training.settings import LossSettings


def gather(accelerator: Accelerator, own: Tensor) -> Tensor:
    """Return the rows of all processes; gradients reach `own`, times the number of processes."""
    count = accelerator.num_processes
    if count == 1:
        return own
    parts = list(accelerator.gather(own.detach().contiguous()).chunk(count))
    parts[accelerator.process_index] = own * count - own.detach() * (count - 1)
    return torch.cat(parts)


class Joint(NamedTuple):
    """The vectors of all processes' shares of a batch."""

    queries: Tensor
    """(b, dim)"""
    passages: Tensor
    """(b * s, dim), zero where a slot is empty."""
    left: Tensor
    right: Tensor
    """(g, dim) each: the graded pairs."""


class Cells(NamedTuple):
    """Which passage belongs to which query of the joint batch."""

    target: Tensor
    """(b,) column of each query's positive."""
    hidden: Tensor
    """(b, b * s) True where a passage is no negative (or is the positive)."""
    groups: Tensor
    """(b, s) columns of each query's own passages."""
    shown: Tensor
    """(b, s) False where a slot is empty."""


def joined(vectors: Tensor, batch: TrainBatch, *, accelerator: Accelerator) -> Joint:
    """Return the joint vectors of (texts, dim) own ones in the order of the batch's texts."""
    queries, graded = len(batch.query_keys), len(batch.labels)
    parts = vectors.split([queries, graded, graded, len(batch.texts.passages)])
    filled = (batch.passage_keys.flatten() != loss.EMPTY).nonzero().flatten()
    grid = vectors.new_zeros(batch.passage_keys.numel(), vectors.shape[1])
    passages = grid.index_copy(0, filled, parts[3])
    return Joint(*(gather(accelerator, part) for part in (parts[0], passages, *parts[1:3])))


def cells(batch: TrainBatch, *, accelerator: Accelerator) -> Cells:
    """Return the cells of the joint batch."""
    keys = accelerator.gather(batch.passage_keys)
    answered = torch.full_like(keys, loss.EMPTY)
    answered[:, 0] = accelerator.gather(batch.query_keys)
    own_rows = loss.false_negatives(
        batch.query_keys,
        batch.known_keys,
        passage_keys=keys.flatten(),
        answered_keys=answered.flatten(),
    )
    groups = torch.arange(keys.numel(), device=keys.device).view(keys.shape)
    return Cells(groups[:, 0], accelerator.gather(own_rows), groups, keys != loss.EMPTY)


class Objective:
    """The weighted sum of the losses that the settings ask for."""

    def __init__(self, settings: LossSettings, *, accelerator: Accelerator) -> None:
        self.settings, self.accelerator = settings, accelerator

    def __call__(
        self,
        vectors: Tensor,
        batch: TrainBatch,
        *,
        teachers: Sequence[Tensor],
        base: Tensor | None,
        reranked: Tensor | None = None,
    ) -> Tensor:
        """Return the joint loss; `teachers` and `base` are vectors of the same texts.

        `reranked` holds a cross-encoder's score of every passage of the batch, (b, s).
        """
        chosen = self.settings
        if chosen.similarity == "cosine":
            vectors = F.normalize(vectors, dim=1)
        joint = joined(vectors, batch, accelerator=self.accelerator)
        where = cells(batch, accelerator=self.accelerator)
        taught = [joined(one, batch, accelerator=self.accelerator) for one in teachers]
        total = vectors.sum() * 0.0
        if chosen.contrast_weight:
            total = total + chosen.contrast_weight * self._contrast(joint, where)
        if taught:
            total = total + chosen.teacher_weight * self._teacher(joint, where, taught)
        if reranked is not None:
            wanted = gather(self.accelerator, reranked)
            total = total + chosen.reranker_weight * self._reranked(joint, where, wanted)
        if base is not None:
            old = joined(base, batch, accelerator=self.accelerator)
            total = total + chosen.base_weight * _imitate(joint, where, old, kind="cosine")
        if chosen.graded_weight:
            labels = self.accelerator.gather(batch.labels)
            alike = F.cosine_similarity(joint.left, joint.right)
            graded = loss.cosent(alike, labels, scale=chosen.graded_scale)
            total = total + chosen.graded_weight * graded
        return total

    def _over_sizes(self, joint: Joint, judge: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the mean cost of the scores by whole vectors and by their first dimensions."""
        chosen, whole = self.settings, joint.queries.shape[1]
        found = []
        for size in (whole, *(size for size in chosen.matryoshka if size < whole)):
            vectors = joint.queries[:, :size], joint.passages[:, :size]
            found.append(judge(loss.similarities(*vectors, kind=chosen.similarity)))
        return torch.stack(found).mean()

    def _contrast(self, joint: Joint, where: Cells) -> Tensor:
        chosen = self.settings

        def judge(scores: Tensor) -> Tensor:
            hidden = where.hidden
            if (margin := chosen.mask_margin) is not None:
                hidden = hidden | loss.likely_answers(scores, where.target, margin=margin)
            options = {"temperature": chosen.temperature, "hidden": hidden}
            forth = loss.info_nce(scores, where.target, **options)
            if not chosen.both_directions:
                return forth
            return (forth + loss.info_nce_back(scores, where.target, **options)) / 2

        return self._over_sizes(joint, judge)

    def _teacher(self, joint: Joint, where: Cells, taught: Sequence[Joint]) -> Tensor:
        chosen = self.settings
        if chosen.teacher_loss in ("cosine", "mse"):
            return _imitate(joint, where, taught[0], kind=chosen.teacher_loss)
        # As the student is judged: else not even the student itself would have its own margins.
        kind = chosen.similarity
        theirs = torch.stack(
            [loss.similarities(one.queries, one.passages, kind=kind) for one in taught]
        ).mean(0)

        def margins(scores: Tensor) -> Tensor:
            own, wanted = (table.gather(1, where.groups) for table in (scores, theirs))
            return loss.margin_mse(own, wanted, shown=where.shown)

        def shares(scores: Tensor) -> Tensor:
            return loss.imitate_shares(
                scores,
                theirs,
                temperature=chosen.temperature,
                teacher_temperature=chosen.teacher_temperature,
                hidden=~where.shown.flatten()[None, :].expand_as(where.hidden),
            )

        return self._over_sizes(joint, margins if chosen.teacher_loss == "margin_mse" else shares)

    def _reranked(self, joint: Joint, where: Cells, wanted: Tensor) -> Tensor:
        def judge(scores: Tensor) -> Tensor:
            return loss.imitate_shares(
                scores.gather(1, where.groups),
                wanted,
                temperature=self.settings.temperature,
                teacher_temperature=self.settings.reranker_temperature,
                hidden=~where.shown,
            )

        return self._over_sizes(joint, judge)


def _imitate(joint: Joint, where: Cells, other: Joint, *, kind: Literal["cosine", "mse"]) -> Tensor:
    """Return how far the texts of the batch are from the other model's vectors.

    The mean over queries, over passages and over graded texts, each as much as the others: a query
    comes with dozens of passages, and would hardly count among all texts alike.
    """
    shown = where.shown.flatten().nonzero().flatten()
    ours, theirs = (
        (
            one.queries,
            one.passages.index_select(0, shown),
            torch.cat([one.left, one.right]),
        )
        for one in (joint, other)
    )
    found = [
        loss.imitate_vectors(mine, wanted, kind=kind)
        for mine, wanted in zip(ours, theirs, strict=True)
        if len(mine)
    ]
    return torch.stack(found).mean()
