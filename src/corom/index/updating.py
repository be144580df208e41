"""An index that follows its corpus: what is new or changed is encoded, what is gone is removed.

A text is known again by a digest of its id and of all that was indexed of it, parts included; a
text of which anything differs is removed and added anew.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import replace
from hashlib import blake2b
from itertools import chain, groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from corom.corpus import CorpusChecksum
from corom.encoder import Encoder, Progress
from corom.errors import ArtifactError, InputError
from corom.files import MANIFEST
from corom.index.building import append_parts, check_makers
from corom.index.folder import read_manifest
from corom.index.parts import parts_of
from corom.index.spec import IndexSpec
from corom.index.writer import open_writer, require_spec
from corom.ranking import occurs_twice
from corom.records import Passage
from corom.splitting import Splitter, document_of
from corom.text import clean


class Change(NamedTuple):
    """How many texts an update found to be new, other than they were, gone, and as they were."""

    added: int
    changed: int
    removed: int
    kept: int


def update_index(
    folder: Path | str,
    read: Callable[[], Iterable[Passage]],
    *,
    spec: IndexSpec | None = None,
    encoder: Encoder | None = None,
    splitter: Splitter | None = None,
    erase: bool = False,
    expect: Callable[[int], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Change:
    """Make the finished index in `folder` hold the passages that `read()` yields.

    `read` is called twice and must yield the same; the order does not matter. `encoder` and
    `splitter` are those the index was made with, and so is `spec`, if it is given; its `source`
    does not count. All of it counts when this returns: killed or failed, the index is what it was.
    In memory are 16 bytes for each text, and the ids of those that differ. With `erase` no file of
    the folder holds what is gone, removed earlier or now, for the cost of writing all of it again.
    `expect` is told how many passages will be encoded, `progress` how many are.

    Raises InputError for a corpus without passages (an export that failed would empty the index),
    with an id that occurs twice or that is written to meanwhile, ArtifactError for an index that
    was not finished, and what `open_writer` raises.
    """
    if spec is not None:  # before the files are compared with their checksums: 1 s per GB
        _require_made_as(folder, spec)
    with open_writer(folder) as writer:
        if not writer.complete:
            raise ArtifactError(f"{folder} holds an index that was not finished; finish it first")
        check_makers(writer.spec, encoder=encoder, splitter=splitter)
        text_id = document_of if writer.spec.part_tokens else str
        held = _Held(_texts(writer.passages(), text_id))
        corpus, new, parts = CorpusChecksum(), set[str](), 0
        read_parts = (part.passage for part in parts_of(corpus.through(read()), splitter))
        for id_, text in _texts(read_parts, text_id):
            if not held.meets(id_, text):
                if id_ in new:
                    raise occurs_twice(id_)
                new.add(id_)
                parts += len(text)
        if not corpus.passages:
            raise InputError("the corpus holds no passages; the index was left as it is")
        gone = held.unmet(_texts(writer.passages(), text_id), new)
        writer.remove(list(chain.from_iterable(gone.values())))
        if expect:
            expect(parts)
        again = CorpusChecksum()
        every = parts_of(again.through(read()), splitter)
        append_parts(
            writer,
            (part for part in every if text_id(part.passage.id) in new),
            encoder=encoder,
            progress=progress,
        )
        if again.hexdigest() != corpus.hexdigest():
            raise InputError("the corpus changed while it was read; the index was left as it is")
        writer.finish(source=corpus.hexdigest(), erase=erase)
    changed = len(new & gone.keys())
    return Change(len(new) - changed, changed, len(gone) - changed, held.met)


def _require_made_as(folder: Path | str, spec: IndexSpec) -> None:
    """Raise ArtifactError if there is an index that is not of this spec, whatever its corpus."""
    if (Path(folder) / MANIFEST).is_file():
        found = read_manifest(Path(folder)).spec
        require_spec(folder, replace(spec, source=found.source), found)


class _Held:
    """The texts of an index, and which of them were met again."""

    def __init__(self, texts: Iterable[tuple[str, list[Passage]]]) -> None:
        # Of ten million changed texts one would be taken for another of ten million, and not be
        # changed, once in 180,000 updates.
        digests = np.array(array("q", (_digest(text) for _, text in texts)), np.int64)
        self._order = np.argsort(digests)
        self._digests = digests[self._order]
        self._met = np.zeros(len(digests), dtype=bool)

    @property
    def met(self) -> int:
        """How many were."""
        return int(np.count_nonzero(self._met))

    def meets(self, id_: str, text: list[Passage]) -> bool:
        """Return whether this text is among them; InputError if it was before."""
        digest = _digest(text)
        place = int(np.searchsorted(self._digests, digest))
        if place == len(self._digests) or self._digests[place] != digest:
            return False
        number = self._order[place]
        if self._met[number]:
            raise occurs_twice(id_)
        self._met[number] = True
        return True

    def unmet(
        self, texts: Iterable[tuple[str, list[Passage]]], new: Set[str]
    ) -> dict[str, list[str]]:
        """Return id -> ids of its parts of the texts that were not, of the same `texts` again.

        Raises InputError if one that was has the id of a `new` one.
        """
        gone: dict[str, list[str]] = {}
        for (id_, text), met in zip(texts, self._met.tolist(), strict=True):
            if not met:
                gone[id_] = [part.id for part in text]
            elif id_ in new:
                raise occurs_twice(id_)
        return gone


def _texts(
    parts: Iterable[Passage], text_id: Callable[[str], str]
) -> Iterator[tuple[str, list[Passage]]]:
    """Yield each text with its parts, which lie side by side, in a corpus as in an index.

    Raises InputError for a text that stands there twice, side by side.
    """
    for id_, group in groupby(parts, key=lambda part: text_id(part.id)):
        text = list(group)
        if len({part.id for part in text}) < len(text):
            raise occurs_twice(id_)
        yield id_, text


def _digest(text: list[Passage]) -> int:
    """Return 64 bits that tell texts apart, of what an index keeps of them."""
    value = [_kept(part) for part in text]
    line = json.dumps(value, ensure_ascii=False, sort_keys=True).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(line, digest_size=8).digest(), signed=True)


def _kept(part: Passage) -> tuple[object, ...]:
    kept = (part.id, clean(part.title), clean(part.text))
    return (*kept, {**part.fields}) if part.fields else kept
