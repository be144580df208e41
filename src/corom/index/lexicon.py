"""Words and the passages they are in, kept and scored by tantivy.

The score of a passage is the sum over the words w of the query, repeated words counted again:

    idf(w) = ln(1 + (N - n + 0.5) / (n + 0.5))
    score  = sum of idf(w) * tf * (k1 + 1) / (tf + k1 * (1 - b + b * length / mean length))

with N passages, n of them holding w, tf times in this one; k1 = 1.2 and b = 0.75 are fixed in
tantivy (quickwit-oss/tantivy#2924). It keeps the length of a passage in one byte: exact up to 40
words, above that rounded down to one of 216 steps, each at most an eighth longer than the one
before, as Lucene does. Scores are float32.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from corom.errors import ArtifactError
from corom.extras import need
from corom.index.collection import Collection
from corom.words import Cut, segment

Tantivy: TypeAlias = Any  # compiled, and its stubs are not used

_HEAP = 128_000_000
_MORE = 32  # hits beyond k, to see where the ties at the end stop


class Found(NamedTuple):
    """The passages that hold a word of one query, best first by tantivy's order."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]


class Lexicon:
    """A finished tantivy index, whose documents are rows of a collection."""

    def __init__(self, index: Tantivy, cut: Cut) -> None:
        self._tantivy = need("tantivy", extra="lexical")
        self._schema, self._cut = index.schema, cut
        index.config_reader("Manual")  # it will not change; do not watch it
        index.reload()
        self._searcher = index.searcher()

    @classmethod
    def build(cls, collection: Collection, folder: Path | None = None, *, cut: Cut) -> Lexicon:
        """Return a lexicon of the living rows, in memory or in a folder that is made."""
        tantivy = need("tantivy", extra="lexical")
        fields = tantivy.SchemaBuilder()
        fields.add_text_field("words", tokenizer_name="whitespace", index_option="freq")
        fields.add_unsigned_field("row", fast=True)
        if folder is not None:
            folder.mkdir()
        index = tantivy.Index(fields.build(), path=None if folder is None else str(folder))
        writer = index.writer(_HEAP, 1)
        try:
            cls._write(writer, collection, cut=cut)
        except ValueError as error:  # what tantivy makes of a full disk
            where = folder or "memory"
            raise ArtifactError(f"the words cannot be written to {where} ({error})") from None
        built = cls(index, cut)
        for path in folder.iterdir() if folder else ():
            if path.name.startswith("."):  # locks, and a list of files to delete some day
                path.unlink()
            else:
                path.chmod(path.parent.stat().st_mode & 0o666)
        return built

    @staticmethod
    def _write(writer: Tantivy, collection: Collection, *, cut: Cut) -> None:
        tantivy = need("tantivy", extra="lexical")
        for first, part, rows in collection.living():
            for row in rows:
                document = tantivy.Document()
                document.add_unsigned("row", first + row)
                document.add_text("words", " ".join(segment(part.passages[row].content, cut=cut)))
                writer.add_document(document)
        writer.commit()
        writer.wait_merging_threads()

    @classmethod
    def open(cls, folder: Path, *, cut: Cut) -> Lexicon:
        """Return the lexicon in a checked folder, which may be read-only."""
        tantivy = need("tantivy", extra="lexical")
        # To read, tantivy makes a lock file beside what it reads. It gets a folder of links for
        # that; once opened, the files are mapped and the links no longer needed. A thread of
        # tantivy's may still touch its lock while the folder goes.
        with TemporaryDirectory(prefix="corom-", ignore_cleanup_errors=True) as links:
            for path in folder.iterdir():
                (Path(links) / path.name).symlink_to(path.resolve())
            try:
                return cls(tantivy.Index.open(links), cut)
            except ValueError:
                raise ArtifactError(
                    f"{folder} cannot be read by {tantivy.__version__}; make the index again"
                ) from None

    def search(self, query: str, k: int, *, alive: NDArray[np.bool_]) -> Found:
        """Return the best k passages that are alive and every further one tied with the last.

        All that were counted count for the scores, alive or not.
        """
        terms = Counter(segment(query, cut=self._cut))
        documents: int = self._searcher.num_docs
        living = int(np.count_nonzero(alive))
        if not terms or not living:
            return Found(np.empty(0, np.int64), np.empty(0, np.float32))
        asked = self._query(terms)
        limit = min((k + _MORE) * len(alive) // living, documents)
        while True:
            hits = self._searcher.search(asked, limit, count=False).hits
            found = self._alive(hits, alive)
            enough = len(found.rows) >= k and hits[-1][0] < found.scores[k - 1]
            if enough or len(hits) < limit or limit == documents:
                return found
            limit = min(2 * limit, documents)

    def _alive(self, hits: list[tuple[float, Tantivy]], alive: NDArray[np.bool_]) -> Found:
        scores, places = zip(*hits, strict=True) if hits else ((), ())
        # A column of numbers: no stored document is read.
        rows = np.array(self._searcher.fast_field_values("row", list(places)), np.int64)
        kept = alive[rows]
        return Found(rows[kept], np.array(scores, np.float32)[kept])

    def _query(self, terms: Counter[str]) -> Tantivy:
        query, should = self._tantivy.Query, self._tantivy.Occur.Should
        parts = []
        # Sorted: floats are added in this order, and the order of words must not matter.
        for word, times in sorted(terms.items()):
            term = query.term_query(self._schema, "words", word)
            parts.append((should, term if times == 1 else query.boost_query(term, float(times))))
        return query.boolean_query(parts)
