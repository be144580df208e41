"""From a path to a reader: data set folders by their files, single files by their names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from corom.errors import FormatError, InputError
from corom.readers.cmedqa import recognise_cmedqa
from corom.readers.compression import plain_name
from corom.readers.dataset import Dataset, Folder, list_folder
from corom.readers.fields import require_text
from corom.readers.groups import recognise_groups
from corom.readers.jsonl import read_passages_jsonl, read_queries_jsonl, recognise_beir
from corom.readers.layout import FIXED, Layout
from corom.readers.lines import (
    Encoding,
    SkipReport,
    decoded,
    numbered_lines,
    read_each,
)
from corom.readers.tables import read_passages_table, read_queries_table
from corom.readers.tsv import (
    read_passages_tsv,
    read_queries_tsv,
    recognise_ms_marco,
    recognise_multi_cpr,
)
from corom.records import Passage, Query

_RECOGNISERS: tuple[Callable[[Folder], Dataset | None], ...] = (
    recognise_multi_cpr,
    recognise_ms_marco,
    recognise_beir,
    recognise_cmedqa,
    recognise_groups,
)
_TABLES = (".csv", ".xlsx")
_OTHER_SHEETS = (".xls", ".xlsb", ".xlsm", ".ods", ".et")
_KNOWN = """known are:
  multi-cpr: corpus.tsv or corpus_split_1.tsv to _4, NAME.query.txt, qrels.NAME.tsv
  ms-marco: collection.tsv, queries.NAME.tsv, qrels.NAME.tsv
  beir: corpus.jsonl, queries.jsonl, qrels/NAME.tsv
  cmedqa2: question.csv, answer.csv, NAME_candidates.txt (or each as .zip)
  groups: NAME.jsonl with query_id, query, positive_passages, negative_passages
each file plain or .gz, .xz, .zst"""


def open_dataset(path: Path | str, *, skips: SkipReport | None = None) -> Dataset:
    """Return the data set in a folder; `describe()` says what was recognised.

    Only names are looked at (and the first line of jsonl files); nothing is read yet. With
    `skips`, bad records are left out and counted there. Raises InputError when `path` is no
    folder, FormatError when it holds no data set, an incomplete one or more than one.
    """
    folder = list_folder(Path(path))
    found = [each for recognise in _RECOGNISERS if (each := recognise(folder)) is not None]
    if len(found) == 1:
        return replace(found[0], skips=skips)
    seen = ", ".join(sorted(folder.files)) or "no file"
    formats = " and ".join(each.format for each in found)
    trouble = f"looks like {formats} at once" if found else "holds no data set"
    raise FormatError(f"{trouble}; it holds {seen}; {_KNOWN}", path=folder.path)


def open_passages(
    path: Path | str, *, layout: Layout = FIXED, skips: SkipReport | None = None
) -> Iterator[Passage]:
    """Return the passages of a file, or of the data set in a folder, as an iterator.

    .tsv: id, tab, text; .jsonl: `id` (or `_id`, `docid`), `text`, `title`; .csv and .xlsx: the same
    under a header; .txt: a text a line, its id the number of the line. Each plain or .gz, .xz,
    .zst. `layout` says what is called otherwise, and the encoding. Raises InputError when the path
    does not exist or ends otherwise; FormatError, with file and line, while iterating.
    """
    path = Path(path)
    if path.is_dir():
        layout.refuse(path)
        return open_dataset(path, skips=skips).passages()
    ending = _ending(path)
    if ending in _TABLES:
        return read_passages_table(path, layout=layout, skips=skips)
    layout.refuse_no_header(path)
    if ending == ".jsonl":
        return read_passages_jsonl(path, layout=layout, skips=skips)
    layout.refuse_columns(path)
    if ending == ".tsv":
        return read_passages_tsv(path, encoding=layout.encoding, skips=skips)
    return (Passage(*line) for line in _read_texts(path, layout.encoding, skips=skips))


def open_queries(
    path: Path | str, *, layout: Layout = FIXED, skips: SkipReport | None = None
) -> Iterator[Query]:
    """Return the queries of a file as an iterator.

    .tsv and .query.txt: id, tab, text; .jsonl: `id` (or `_id`, `query_id`), `text` (or `query`);
    .csv and .xlsx: the same under a header; .txt: a text a line, its id the number of the line.
    Raises as `open_passages` does.
    """
    path = Path(path)
    ending = _ending(path)
    if ending in _TABLES:
        return read_queries_table(path, layout=layout, skips=skips)
    layout.refuse_no_header(path)
    if ending == ".jsonl":
        return read_queries_jsonl(path, layout=layout, skips=skips)
    layout.refuse_columns(path)
    if ending == ".tsv":
        return read_queries_tsv(path, encoding=layout.encoding, skips=skips)
    return (Query(*line) for line in _read_texts(path, layout.encoding, skips=skips))


def _ending(path: Path) -> str:
    if not path.is_file():
        raise InputError(f"{path} is not a file; check the path")
    name = plain_name(path.name.lower())
    if name.endswith((".tsv", ".query.txt")):
        return ".tsv"
    for ending in (".jsonl", *_TABLES, ".txt"):
        if name.endswith(ending):
            return ending
    if name.endswith(_OTHER_SHEETS):
        raise InputError(f"{path} cannot be read; save it as .xlsx or .csv")
    raise InputError(f"{path} does not say what it is; name it .jsonl, .csv, .xlsx, .tsv or .txt")


def _read_texts(
    path: Path, encoding: Encoding | None, *, skips: SkipReport | None
) -> Iterator[tuple[str, str]]:
    def parse(line: tuple[int, bytes]) -> tuple[str, str]:
        number, raw = line
        return str(number), require_text(decoded(raw, encoding))

    lines = numbered_lines(path, encoding=encoding)
    return read_each(((file, n, (n, raw)) for file, n, raw in lines), parse, skips=skips)
