"""What it is worth to cut long passages into parts: questions about details of longer texts.

    python benchmarks/part_sizes.py --json results/parts.json         # 20 minutes

The 1,192 texts of TCM-QG (`tcm_qg_test` of the training data: 4,224 questions people made from
texts about traditional Chinese medicine, three quarters of them longer than 256 tokens) among
20,000 sections of textbooks, model-written answers and descriptions of diseases. Whole, at the
model's length and at 512 tokens; cut into parts of several sizes, a text counting as its best part.
And the sets of open-medical, whose passages are answers to one question each.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import SHARED, command, command_line
from corom.encoder import Encoder
from corom.evaluation import Dense, Parted, Report, Retriever, evaluate, to_json, to_text
from corom.files import sha256, write_json
from corom.readers import Dataset, Pair, open_dataset, read_pairs
from corom.readers.writing import write_lines
from corom.splitting import Splitter

PAIRS = Path("train", "pairs.jsonl.xz")
QUESTIONS = "tcm_qg_test"
OTHERS = ("medical_books_sections", "shennong_tcm_answers", "kg_medicalgraph_disease")
MEASURES = ("MRR@10", "Recall@10", "Recall@100")
SIZES = (256, 192, 128, 96, 64, 48)
REPEATED = 128


def write_questions(pairs: list[Pair], folder: Path, *, others: int) -> Dataset:
    """Write the questions and their texts, among so many others, as a data set in BEIR's form."""
    asked = [pair for pair in pairs if pair.source == QUESTIONS]
    texts = dict.fromkeys(pair.positive for pair in asked)
    rest = dict.fromkeys(pair.positive for pair in pairs if pair.source in OTHERS)
    more = [text for text in rest if text not in texts][:others]
    numbers = {text: str(number) for number, text in enumerate([*texts, *more])}
    corpus = ({"_id": id_, "text": text} for text, id_ in numbers.items())
    queries = ({"_id": str(number), "text": pair.query} for number, pair in enumerate(asked))
    for name, rows in (("corpus", corpus), ("queries", queries)):
        write_lines(folder / f"{name}.jsonl", (json.dumps(r, ensure_ascii=False) for r in rows))
    judged = (f"{number}\t{numbers[pair.positive]}\t1" for number, pair in enumerate(asked))
    (folder / "qrels").mkdir()
    write_lines(folder / "qrels" / "test.tsv", judged)
    return open_dataset(folder)


def rows(model: str, work: Path, *, longer: bool, sizes: Sequence[int]) -> Iterator[Retriever]:
    """Yield what is compared: whole texts, at 512 tokens too if `longer`, and parts."""
    whole = Dense(Encoder.load(model), name="whole", work=work)
    yield whole
    if longer:
        yield Dense(Encoder.load(model, max_length=512), name="whole, 512 tokens", work=work)
    for size in sizes:
        yield Parted(whole, Splitter.load(model, max_tokens=size), name=f"parts of {size}")
        if size == REPEATED:
            splitter = Splitter.load(model, max_tokens=size, overlap=size // 4)
            yield Parted(whole, splitter, name=f"parts of {size}, {size // 4} repeated")


def arguments(doc: str) -> argparse.ArgumentParser:
    """Return what the benchmarks of parts can be asked."""
    parser = command_line(doc)
    parser.add_argument("--model", default="corom-medical")
    parser.add_argument("--data", type=Path, default=SHARED / "data")
    parser.add_argument("--others", type=int, default=20000)
    return parser


def write_reports(options: argparse.Namespace, reports: Sequence[Report]) -> None:
    """Write what was measured, and by which command."""
    result = {
        "command": command(),
        "model": options.model,
        "pairs": sha256(options.data / PAIRS),
        "reports": [to_json(report) for report in reports],
    }
    write_json(options.json, result)


def main() -> None:
    """Measure, print, write."""
    options = arguments(__doc__).parse_args()
    source = options.data / PAIRS
    answers = open_dataset(options.data / "eval" / "open-medical")
    with TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "tcm-qg").mkdir()
        questions = write_questions(
            list(read_pairs(source)), place / "tcm-qg", others=options.others
        )
        measured = partial(evaluate, measures=MEASURES, depth=100)
        asked = rows(options.model, place / "work", longer=True, sizes=SIZES)
        reports = [measured(questions, list(asked), splits=["test"])]
        print(to_text(reports[0]), flush=True)
        general = rows(options.model, place / "work", longer=False, sizes=[REPEATED])
        reports.append(measured(answers, list(general), splits=answers.splits))
        print(to_text(reports[1]))
    if options.json:
        write_reports(options, reports)


if __name__ == "__main__":
    main()
