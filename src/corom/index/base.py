"""What an index of vectors and one of words have in common: the passages they hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from corom.errors import ArtifactError
from corom.index.collection import Collection
from corom.index.spec import IndexSpec
from corom.index.writer import open_writer
from corom.records import Passage


class BaseIndex:
    """The passages of an index, in memory or in a folder that was opened."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection

    @property
    def spec(self) -> IndexSpec:
        """What the index is."""
        return self.collection.spec

    def __len__(self) -> int:
        return len(self.collection)

    def remove(self, ids: Sequence[str]) -> None:
        """Remove passages; InputError for an id that is not there."""
        self.collection.remove(ids)

    def passages(self, ids: Sequence[str]) -> list[Passage]:
        """Return passages with their texts; InputError for an id that is not there."""
        return self.collection.passages(self.collection.find(ids))

    def save(self, folder: Path | str) -> None:
        """Write the index in memory to a new folder, without the passages that were removed.

        A graph, lists and counts of words are made anew.
        """
        with open_writer(folder, self.spec) as writer:
            if writer.done or writer.complete:
                raise ArtifactError(f"{folder} holds an index already; change it with open_writer")
            for _, segment, rows in self.collection.living():
                living = segment.part(rows)
                vectors = living.vectors
                writer.append(
                    living.passages,
                    None if vectors is None else vectors.astype(np.float32, copy=False),
                )
            writer.finish()
