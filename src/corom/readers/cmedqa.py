"""cMedQA2 as its repository ships it: csv files, plain or each in a zip.

| file | columns |
|---|---|
| `question.csv` | `question_id,content` |
| `answer.csv` | `ans_id,question_id,content`; the corpus |
| `train_candidates.txt` | `question_id,pos_ans_id,neg_ans_id` |
| `dev_candidates.txt`, `test_candidates.txt` | `question_id,ans_id,cnt,label` |

A question and an answer may share a number: their ids live in spaces of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

from corom.readers.csv_rows import csv_rows
from corom.readers.dataset import Dataset, Folder
from corom.readers.fields import require_grade, require_id, require_text
from corom.readers.lines import BadRecordError, SkipReport
from corom.readers.tables import Row, read_table
from corom.records import Passage, Qrel, Query

_LABELLED = ("question_id", "ans_id", "label")
_COLUMNS = {"train": ("question_id", "pos_ans_id"), "dev": _LABELLED, "test": _LABELLED}
"""Of each split, what is read of its candidates."""

T = TypeVar("T")


def recognise_cmedqa(folder: Folder) -> Dataset | None:
    """Return the cMedQA2 data set in `folder`, or None when it holds none.

    Its passages are the answers, a split's queries the questions that its candidates name.
    """
    # question.csv and question.csv.gz go by their csv name, question.zip by "question".
    answers = folder.files.get("answer.csv") or folder.files.get("answer")
    questions = folder.files.get("question.csv") or folder.files.get("question")
    if answers is None or questions is None:
        return None
    candidates = {
        split: path
        for split in _COLUMNS
        for name in (f"{split}_candidates.txt", f"{split}_candidates")
        if (path := folder.files.get(name)) is not None
    }
    return Dataset(
        folder=folder,
        format="cmedqa2",
        files=(answers, questions, *candidates.values()),
        read_passages=partial(_read_texts, answers, "ans_id", Passage),
        read_all_queries=partial(_read_texts, questions, "question_id", Query),
        read_qrels={
            split: partial(_read_qrels, path, _COLUMNS[split]) for split, path in candidates.items()
        },
    )


def _read_qrels(
    path: Path, columns: tuple[str, ...], *, skips: SkipReport | None
) -> Iterator[Qrel]:
    """Yield the judged pairs of a split, each once.

    In train only the positive answers: the negative ones were drawn at random, five million
    of them. In dev and test the label of every candidate, 0 or 1.
    """
    grades: dict[tuple[str, str], int] = {}

    def parse(question: str, answer: str, label: str = "1") -> Qrel | None:
        pair = (require_id(question, name=columns[0]), require_id(answer, name=columns[1]))
        grade = require_grade(label)
        if pair not in grades:
            grades[pair] = grade
            return Qrel(*pair, grade)
        if grades[pair] != grade:
            raise BadRecordError("contradiction", "grades a pair unlike an earlier line")
        return None

    return _read_csv(path, columns, parse, skips=skips)


def _read_texts(
    path: Path, id_name: str, make: Callable[[str, str], T], *, skips: SkipReport | None
) -> Iterator[T]:
    """Yield what `make` makes of id and text of each row."""

    def parse(id_: str, text: str) -> T:
        return make(require_id(id_, name=id_name), require_text(text, name="content"))

    return _read_csv(path, (id_name, "content"), parse, key=attrgetter("id"), skips=skips)


def _read_csv(
    path: Path,
    columns: tuple[str, ...],
    parse: Callable[..., T | None],
    *,
    key: Callable[[T], Hashable] | None = None,
    skips: SkipReport | None,
) -> Iterator[T]:
    """Yield `parse` of the named columns of each row."""

    def parsed(row: Row) -> T | None:
        return parse(*(row[name] for name in columns))

    # Where a quote is missing Python makes the best of it, as it did for whoever counted them.
    rows = csv_rows(path, encoding=None, strict=False)
    names = {name: (name,) for name in columns}
    return read_table(path, rows, names, parsed, key=key, skips=skips)
