"""What a share of the whole text's vector is worth in the vectors of its parts.

    python benchmarks/part_shares.py --json results/parts-whole.json         # 23 minutes

Indexes of parts of 128 tokens, as `corom index --part-tokens 128 --whole-share SHARE` makes them:
of TCM-QG among 20,000 others (`part_sizes.py`; questions about details of longer texts), without
and with the whole, and of open-medical (passages that are one answer each), beside whole texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from corom.corpus import CorpusChecksum
from corom.encoder import Encoder
from corom.evaluation import Dense, Report, Retriever, Stored, evaluate, to_text
from corom.index import IndexSpec, open_index
from corom.index.building import build_index
from corom.readers import Dataset, open_dataset, read_pairs
from corom.splitting import Splitter
from part_sizes import MEASURES, PAIRS, arguments, write_questions, write_reports

TOKENS = 128


def index_of(dataset: Dataset, encoder: Encoder, folder: Path, *, share: float) -> Retriever:
    """Return an index of the parts of a data set's passages, newly made."""
    spec = IndexSpec.for_encoder(
        encoder,
        source=CorpusChecksum(dataset.passages()).hexdigest(),
        part_tokens=TOKENS,
        whole_share=share,
    )
    splitter = Splitter.load(encoder.name, max_tokens=TOKENS)
    build_index(folder, dataset.passages(), spec=spec, encoder=encoder, splitter=splitter)
    name = f"parts of {TOKENS}" + (f", whole share {share}" if share else "")
    return Stored(name=name, vectors=open_index(folder), encoder=encoder)


def main() -> None:
    """Measure, print, write."""
    parser = arguments(__doc__)
    parser.add_argument("--share", type=float, default=0.5)
    options = parser.parse_args()
    encoder = Encoder.load(options.model)
    answers = open_dataset(options.data / "eval" / "open-medical")
    reports: list[Report] = []

    def measure(dataset: Dataset, rows: Sequence[Retriever], splits: Sequence[str]) -> None:
        reports.append(evaluate(dataset, rows, splits=splits, measures=MEASURES, depth=100))
        print(to_text(reports[-1]), flush=True)

    with TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "tcm-qg").mkdir()
        pairs = list(read_pairs(options.data / PAIRS))
        questions = write_questions(pairs, place / "tcm-qg", others=options.others)
        of_questions = partial(index_of, questions, encoder)
        shares = (0.0, options.share)
        rows = [of_questions(place / f"questions-{share}", share=share) for share in shares]
        measure(questions, rows, ["test"])
        whole = Dense(encoder, name=options.model, work=place / "work")
        mixed = index_of(answers, encoder, place / "answers", share=options.share)
        measure(answers, [whole, mixed], list(answers.splits))
    if options.json:
        write_reports(options, reports)


if __name__ == "__main__":
    main()
