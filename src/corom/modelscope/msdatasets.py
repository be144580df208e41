"""Training data as ModelScope's `MsDataset` gives it: splits of rows, from here or from a hub.

A row is a mapping; in a data set of queries it is DuReader-retrieval's: `query_id`, `query`,
`positive_passages` and `negative_passages`, each `{"docid", "text"}` and perhaps a `title`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, overload

from corom.checks import require_one_of
from corom.errors import InputError
from corom.modelscope.downloading import from_hugging_face, from_modelscope, is_rows
from corom.readers import Group, open_dataset
from corom.readers.compression import plain_name
from corom.readers.fields import json_object
from corom.readers.lines import read_records
from corom.training.inputs import groups_of_folder

Row: TypeAlias = dict[str, Any]
Hub: TypeAlias = Literal["modelscope", "huggingface"]

_HUBS: dict[str, Callable[..., Path]] = {
    "modelscope": from_modelscope,
    "huggingface": from_hugging_face,
}


class MsDataset(Sequence[Row]):
    """The rows of one split: read anew each time, in memory once they are asked for by number."""

    def __init__(self, read: Callable[[], Iterator[Row]], *, name: str) -> None:
        self._read, self.name = read, name

    @overload
    @staticmethod
    def load(
        dataset_name: str | Path,
        namespace: str | None = None,
        *,
        split: None = None,
        version: str | None = None,
        hub: Hub = "modelscope",
    ) -> dict[str, MsDataset]: ...

    @overload
    @staticmethod
    def load(
        dataset_name: str | Path,
        namespace: str | None = None,
        *,
        split: str,
        version: str | None = None,
        hub: Hub = "modelscope",
    ) -> MsDataset: ...

    @staticmethod
    def load(
        dataset_name: str | Path,
        namespace: str | None = None,
        *,
        split: str | None = None,
        version: str | None = None,
        hub: Hub = "modelscope",
    ) -> dict[str, MsDataset] | MsDataset:
        """Return the splits of a data set by name, or the one called `split`.

        `dataset_name`: a folder of .jsonl files or any that `corom data check` knows; a .jsonl
        file; or, with its `namespace` (also as `namespace/name`), a data set of a hub, which is
        downloaded once (extra hub). Raises InputError for what is none of these, DownloadError
        when the hub does not deliver.
        """
        require_one_of("hub", hub, _HUBS)
        where = Path(dataset_name)
        if namespace is None and where.exists():
            if version is not None:
                raise InputError(
                    f"{where} is on this machine and has no version {version!r}; leave it out"
                )
        else:
            name = f"{namespace}/{dataset_name}" if namespace else str(dataset_name)
            where = _HUBS[hub](name, revision=version)
        splits = _splits(where)
        if split is None:
            return splits
        if split not in splits:
            raise InputError(f"{where} has no split {split!r}; it has {', '.join(splits)}")
        return splits[split]

    def to_hf_dataset(self) -> MsDataset:
        """Return the split itself: the trainer takes it as it takes a Hugging Face data set."""
        return self

    @property
    def column_names(self) -> list[str]:
        """The fields of the first row."""
        return list(next(iter(self), {}))

    def select(self, indices: Sequence[int]) -> MsDataset:
        """Return the rows of these numbers, in this order."""
        chosen = list(indices)
        return MsDataset(lambda: (self[place] for place in chosen), name=self.name)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows) if "_rows" in vars(self) else self._read()

    def __len__(self) -> int:
        return len(self._rows) if "_rows" in vars(self) else sum(1 for _ in self._read())

    def __getitem__(self, place: Any) -> Any:  # noqa: ANN401 - a row, or a list of them
        return self._rows[place]

    @cached_property
    def _rows(self) -> list[Row]:
        return list(self._read())


def _splits(where: Path) -> dict[str, MsDataset]:
    if where.is_file():
        return {_stem(where): _of_file(where)}
    files = sorted(path for path in where.rglob("*") if path.is_file())
    lines = [path for path in files if is_rows(path.name)]
    if lines and all(_stem(path) != "corpus" for path in lines):  # else BEIR's
        splits: dict[str, Path] = {}
        for path in lines:
            if (other := splits.setdefault(_stem(path), path)) != path:
                raise InputError(
                    f"{other} and {path} would both be the split {_stem(path)!r}; load a file, or "
                    "rename one"
                )
        return {split: _of_file(path) for split, path in splits.items()}
    dataset = open_dataset(where)
    if not dataset.splits:
        raise InputError(f"{where} has no split: neither .jsonl files nor queries with qrels")
    return {
        split: MsDataset(partial(_of_groups, where, split), name=f"{where.name}, {split}")
        for split in dataset.splits
    }


def _stem(path: Path) -> str:
    return Path(plain_name(path.name)).stem


def _of_file(path: Path) -> MsDataset:
    return MsDataset(partial(read_records, [path], json_object, skips=None), name=str(path))


def _of_groups(where: Path, split: str) -> Iterator[Row]:
    for group in groups_of_folder(where, split=split, skips=None)[1]:
        yield _row(group)


def _row(group: Group) -> Row:
    def entries(passages: Sequence[Any]) -> list[dict[str, str]]:
        return [{"docid": one.id, "title": one.title, "text": one.text} for one in passages]

    return {
        "query_id": group.query_id,
        "query": group.query,
        "positive_passages": entries(group.positives),
        "negative_passages": entries(group.negatives),
    }
