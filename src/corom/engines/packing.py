"""Batches without padding: where each token of a padded batch lies among the real tokens.

Tokens are packed text after text, longest text first, so that texts of similar length are
neighbours and attention can pad each such block a little instead of the whole batch a lot.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from corom.errors import InputError

# A block of texts ends where a text is shorter than this share of the block's longest one.
_BLOCK_SHARE = 0.8


class Block(NamedTuple):
    """Neighbouring texts that attention pads to the longest of them."""

    rows: slice
    texts: int
    longest: int
    places: Tensor | None  # of each token in the padded (texts * longest) grid; None: no padding
    mask: Tensor | None  # (texts, 1, 1, longest), True where a token is


class Packing(NamedTuple):
    """Where the tokens of a padded batch lie once the padding is gone."""

    places: Tensor  # (n,) of each packed token in the padded (texts * width) grid
    positions: Tensor  # (n,) of each token in its text
    owners: Tensor  # (n,) the text of each token
    firsts: Tensor  # (texts,) packed row of each text's [CLS], longest text first
    back: Tensor  # (texts,) where a text of the batch went in the order longest first
    lengths: Tensor  # (texts,) in the order of the batch
    blocks: tuple[Block, ...]


def pack(
    lengths: Tensor, *, width: int, device: torch.device | None = None, most: int | None = None
) -> Packing:
    """Return the packing of texts of these `lengths` (1 to `width` each; best kept on the CPU).

    With `most`, a block of several texts has no more tokens than that.
    """
    counts = lengths.to("cpu", torch.int64)
    if counts.ndim != 1 or (len(counts) and not 1 <= int(counts.min()) <= counts.max() <= width):
        raise InputError(f"lengths must be one number from 1 to {width} for each text")
    order = torch.argsort(counts, descending=True, stable=True)
    ordered = counts[order]
    starts = torch.cumsum(ordered, 0) - ordered
    owners = torch.repeat_interleave(order, ordered)
    positions = torch.arange(len(owners)) - torch.repeat_interleave(starts, ordered)

    def there(tensor: Tensor) -> Tensor:
        return tensor.to(device, non_blocking=True)

    return Packing(
        places=there(owners * width + positions),
        positions=there(positions),
        owners=there(owners),
        firsts=there(starts),
        back=there(torch.argsort(order)),
        lengths=there(counts),
        blocks=tuple(_blocks(ordered.tolist(), device=device, most=most)),
    )


def _blocks(ordered: list[int], *, device: torch.device | None, most: int | None) -> list[Block]:
    blocks, row, begin = [], 0, 0
    for end in range(1, len(ordered) + 1):
        fits = most is None or ordered[begin] * (end + 1 - begin) <= most
        if end < len(ordered) and fits and ordered[end] >= _BLOCK_SHARE * ordered[begin]:
            continue
        longest, tokens = ordered[begin], sum(ordered[begin:end])
        places = mask = None
        if tokens < longest * (end - begin):
            grid = torch.arange(longest) < torch.tensor(ordered[begin:end])[:, None]
            places = grid.flatten().nonzero().flatten().to(device, non_blocking=True)
            mask = grid[:, None, None, :].to(device, non_blocking=True)
        blocks.append(Block(slice(row, row + tokens), end - begin, longest, places, mask))
        row, begin = row + tokens, end
    return blocks


def spread(rows: Tensor, places: Tensor, *, size: int) -> Tensor:
    """Return a zeroed (size, dim) grid with `rows` at distinct `places`."""
    return _Spread.apply(rows, places, size)


def collect(grid: Tensor, places: Tensor) -> Tensor:
    """Return the rows of a (size, dim) grid at distinct `places`."""
    return _Collect.apply(grid, places)


# Each is the other's gradient. torch's own indexing would sort or add up in the backward pass,
# for places that never repeat.


class _Spread(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, rows: Tensor, places: Tensor, size: int) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(places)
        return rows.new_zeros(size, rows.shape[1]).index_copy_(0, places, rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        return grad.index_select(0, ctx.saved_tensors[0]), None, None


class _Collect(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, grid: Tensor, places: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(places)
        ctx.size = len(grid)
        return grid.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        zeros = grad.new_zeros(ctx.size, grad.shape[1])
        return zeros.index_copy_(0, ctx.saved_tensors[0], grad), None
