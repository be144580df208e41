from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from corom.engines.packing import collect, pack, spread  # noqa: E402
from corom.errors import InputError  # noqa: E402

pytestmark = pytest.mark.torch


def test_tokens_are_packed_longest_text_first():
    packing = pack(torch.tensor([2, 4, 1, 4]), width=5)
    assert packing.owners.tolist() == [1, 1, 1, 1, 3, 3, 3, 3, 0, 0, 2]
    assert packing.positions.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 0]
    assert packing.places.tolist() == [5, 6, 7, 8, 15, 16, 17, 18, 0, 1, 10]
    assert packing.firsts[packing.back].tolist() == [8, 0, 10, 4]


def test_a_block_pads_little():
    packing = pack(torch.tensor([10, 9, 8, 7, 2, 2]), width=10)
    assert [(b.texts, b.longest) for b in packing.blocks] == [(3, 10), (1, 7), (2, 2)]
    assert [(b.rows.start, b.rows.stop) for b in packing.blocks] == [(0, 27), (27, 34), (34, 38)]
    assert packing.blocks[0].mask.sum() == 27
    assert packing.blocks[2].mask is None


def test_a_block_has_few_tokens_where_asked():
    packing = pack(torch.tensor([10, 9, 9, 9, 3]), width=10, most=20)
    assert [block.texts for block in packing.blocks] == [2, 2, 1]
    assert packing.firsts.tolist() == [0, 10, 19, 28, 37]
    # A text longer than that is a block of its own.
    assert [block.texts for block in pack(torch.tensor([10, 9]), width=10, most=5).blocks] == [1, 1]


def test_no_text_at_all():
    packing = pack(torch.zeros(0, dtype=torch.int64), width=0)
    assert packing.blocks == ()
    assert len(packing.places) == 0


def test_spread_and_collect_are_each_others_gradient():
    rows = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    places = torch.tensor([4, 0, 2])
    assert torch.autograd.gradcheck(lambda r: spread(r, places, size=6), rows)
    grid = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda g: collect(g, places), grid)
    assert torch.equal(collect(spread(rows, places, size=6), places), rows)


@pytest.mark.parametrize("lengths", [(0, 2), (3, 5), (-1, 1)])
def test_impossible_lengths_are_refused(lengths):
    with pytest.raises(InputError, match="from 1 to 4"):
        pack(torch.tensor(lengths), width=4)
