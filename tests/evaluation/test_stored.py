"""An index that is there already, evaluated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from corom.corpus import CorpusChecksum
from corom.encoder import Encoder
from corom.errors import ArtifactError, InputError
from corom.evaluation import Dense, Lexical, Stored, evaluate
from corom.index import BM25Options, IndexSpec, open_index
from corom.index.building import build_index
from corom.readers import Dataset


@pytest.fixture
def words(data: Dataset, tmp_path: Path) -> Stored:
    pytest.importorskip("tantivy")
    source = CorpusChecksum(data.passages()).hexdigest()
    spec = IndexSpec(options=BM25Options(cut="bigrams"), model="bm25", source=source)
    build_index(tmp_path / "words", data.passages(), spec=spec)
    return Stored(name="kept words", words=open_index(tmp_path / "words"))


def vectors_of(data: Dataset, encoder: Encoder, folder: Path, *, unit: bool) -> Stored:
    source = CorpusChecksum(data.passages()).hexdigest()
    spec = IndexSpec.for_encoder(encoder, normalized=unit, source=source)
    build_index(folder, data.passages(), spec=spec, encoder=encoder)
    return Stored(name="kept", vectors=open_index(folder), encoder=encoder)


@pytest.mark.parametrize("unit", [True, False])
def test_vectors_score_as_those_encoded_now(
    data: Dataset, dense: Callable[..., Dense], encoder: Encoder, tmp_path: Path, unit: bool
) -> None:
    stored = vectors_of(data, encoder, tmp_path / "index", unit=unit)
    report = evaluate(data, [dense(normalize=unit), stored], splits=["dev", "test"])
    for split in ("dev", "test"):
        ours, kept = (each for each in report.results if each.split == split)
        assert kept.evaluation.per_query == ours.evaluation.per_query
    assert kept.settings["normalize"] is unit
    assert kept.settings["fingerprint"] == encoder.fingerprint


def test_words_score_as_those_counted_now(data: Dataset, words: Stored) -> None:
    report = evaluate(data, [Lexical(cut="bigrams"), words], splits=["dev"])
    ours, kept = report.results
    assert kept.evaluation.per_query == ours.evaluation.per_query
    assert (kept.model, kept.settings["kind"]) == ("kept words", "bm25")
    assert report.passages == 60


def test_another_number_of_passages_is_refused(data: Dataset, words: Stored) -> None:
    with pytest.raises(InputError, match="holds 60 passages, the data set has 59"):
        words.index(list(data.passages())[1:])
    with pytest.raises(InputError, match="the data set has 0"):
        words.index([])


def test_other_passages_are_refused(data: Dataset, words: Stored) -> None:
    first, *rest = data.passages()
    for changed in (
        [first._replace(text="别的"), *rest],
        [first._replace(id="x"), *rest],
        [*rest, first],
    ):
        with pytest.raises(InputError, match="was made of other passages"):
            words.index(changed)


def test_no_queries(data: Dataset, words: Stored) -> None:
    index = words.index(data.passages())
    assert len(index) == 60
    assert index.search([], 5) == []


def test_what_fits_no_retriever_is_refused(data: Dataset, encoder: Encoder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give an index"):
        Stored(name="none")
    vectors_of(data, encoder, tmp_path / "index", unit=True)
    vectors = open_index(tmp_path / "index")
    with pytest.raises(InputError, match="need each other"):
        Stored(name="no encoder", vectors=vectors)
    other = Encoder.load(encoder.folder, precision="fp32", max_length=7)
    with pytest.raises(ArtifactError, match="the index was made with the encoder"):
        Stored(name="another", vectors=vectors, encoder=other)
