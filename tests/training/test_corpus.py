from __future__ import annotations

import lzma

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corom.errors import ArtifactError, InputError
from corom.training.corpus import Corpus, spans, write_corpus


@pytest.fixture
def written(tiny_checkpoint, tmp_path):
    checkpoint = tiny_checkpoint()

    def write(*paths):
        options = {
            "tokenizer_json": checkpoint.tokenizer_json,
            "vocabulary": checkpoint.shape.vocabulary,
        }
        skips = write_corpus(tmp_path / "corpus", list(map(str, paths)), **options)
        return Corpus(tmp_path / "corpus"), skips

    return write


def test_a_corpus_holds_every_line_and_counts_its_tokens(written, tmp_path):
    plain, packed = tmp_path / "a.txt", tmp_path / "b.txt.xz"
    plain.write_text("头痛头痛\n\n咳嗽\n", encoding="utf-8")
    packed.write_bytes(lzma.compress("头痛吃药\n".encode()))
    corpus, skips = written(plain, packed)
    assert len(corpus) == 3
    assert skips.total == 1
    assert [len(corpus.document(number)) for number in range(3)] == [4, 2, 4]
    head = corpus.document(0)
    assert head[0] == head[2] == corpus.document(2)[0]
    assert corpus.statistics.frequencies[head[0]] == 2
    assert corpus.statistics.documents == 3
    assert corpus.statistics.mean_length == pytest.approx(10 / 3)


def test_no_text_and_a_broken_corpus_are_refused(written, tmp_path):
    empty = tmp_path / "a.txt"
    empty.write_text("\n \n", encoding="utf-8")
    with pytest.raises(InputError, match="no text in"):
        written(empty)
    assert not (tmp_path / "corpus").exists()
    empty.write_text("头痛\n", encoding="utf-8")
    written(empty)
    (tmp_path / "corpus" / "ids.npy").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"ids\.npy"):
        Corpus(tmp_path / "corpus")


@given(st.integers(1, 200), st.integers(3, 40), st.integers(1, 10), st.integers(0, 9))
def test_spans_are_pieces_that_do_not_overlap(size, length, shortest, seed):
    found = spans(
        np.arange(size), length=length, shortest=shortest, rng=np.random.default_rng(seed)
    )
    assert len(found) == (2 if size >= 2 * shortest else 1)
    for piece in found:
        assert 1 <= len(piece) <= length
        assert (np.diff(piece) == 1).all()
    if len(found) == 2:
        assert found[0][-1] < found[1][0]
        assert found[1][-1] < size
