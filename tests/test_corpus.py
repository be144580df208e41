from __future__ import annotations

import hashlib

import pytest

from corom.corpus import CorpusChecksum
from corom.records import Passage

PASSAGES = [Passage("1", "头痛", "病"), Passage("2", "发热\ud800"), Passage("3", "")]


def test_the_checksum_that_indexes_keep_is_that_of_these_bytes():
    lines = '["1", "头痛", "病"]["2", "发热\ud800", ""]["3", "", ""]'
    found = CorpusChecksum(PASSAGES)
    assert found.hexdigest() == hashlib.sha256(lines.encode("utf-8", "surrogatepass")).hexdigest()
    assert found.passages == 3
    assert CorpusChecksum().hexdigest() == hashlib.sha256(b"").hexdigest()


def test_piece_by_piece_it_is_the_same():
    found = CorpusChecksum(PASSAGES[:1]).add(iter(PASSAGES[1:]))
    assert (found.hexdigest(), found.passages) == (CorpusChecksum(PASSAGES).hexdigest(), 3)
    found = CorpusChecksum()
    assert list(found.through(iter(PASSAGES))) == PASSAGES
    assert (found.hexdigest(), found.passages) == (CorpusChecksum(PASSAGES).hexdigest(), 3)


@pytest.mark.parametrize(
    "other",
    [
        PASSAGES[:2],
        PASSAGES[::-1],
        [PASSAGES[0]._replace(title=""), *PASSAGES[1:]],
        [PASSAGES[0]._replace(text="头"), *PASSAGES[1:]],
        [PASSAGES[0]._replace(id="4"), *PASSAGES[1:]],
        [Passage("1", "病", "头痛"), *PASSAGES[1:]],
        [PASSAGES[0]._replace(fields={"a": "b"}), *PASSAGES[1:]],
    ],
)
def test_other_passages_have_another(other):
    assert CorpusChecksum(other).hexdigest() != CorpusChecksum(PASSAGES).hexdigest()


def test_fields_count_in_any_order():
    both = Passage("1", "头痛", fields={"a": "1", "b": "2"})
    turned = both._replace(fields={"b": "2", "a": "1"})
    other = both._replace(fields={"a": "2", "b": "1"})
    found = [CorpusChecksum([each]).hexdigest() for each in (both, turned, other)]
    assert found[0] == found[1] != found[2]
