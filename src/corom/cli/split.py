"""`corom split`: long texts to passages that a model reads to the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corom.cli import flags
from corom.cli.console import check_output, counted, note, say, say_json
from corom.cli.progress import progress_bar
from corom.cli.texts import Texts
from corom.errors import FormatError, InputError

if TYPE_CHECKING:
    from corom.records import Passage
    from corom.splitting import Part


def command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="Texts: a .jsonl, .csv, .xlsx, .tsv or .txt file (plain, .gz, .xz, .zst), the "
            "folder of a data set, or - for standard input, a text a line.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="Passages for corom index: a .jsonl (or .jsonl.gz, .xz, .zst).",
        ),
    ],
    files: Annotated[
        bool,
        typer.Option(
            "--files",
            help="INPUT is a folder, in which each .txt or .md file, those in folders of it too, "
            "is a text; its id is the path without the ending.",
        ),
    ] = False,
    text: flags.Text = None,
    id_: flags.Id = None,
    title: flags.Title = None,
    encoding: flags.Encoding = "utf-8",
    no_header: flags.NoHeader = False,
    skip_bad: flags.SkipBad = False,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-tokens", help="Of a passage, 16 to 512; default: what the model reads."
        ),
    ] = None,
    overlap: Annotated[
        int,
        typer.Option(
            "--overlap",
            help="A part begins with whole sentences of the one before, of so many tokens at most.",
        ),
    ] = 0,
    model: flags.Model = "corom-medical",
    as_json: flags.Json = False,
) -> None:
    """Cut long texts into passages.

    Where a paragraph ends, else a sentence, a clause, a word. A text that fits stays as it is;
    parts are called ID#1, ID#2 and so on. corom search --by-document finds each text once.
    """
    from corom.readers import Layout
    from corom.readers.compression import plain_name
    from corom.readers.documents import other_files
    from corom.splitting import Splitter, write_parts

    if not plain_name(out.name).endswith(".jsonl"):
        raise InputError(f"{out} cannot hold parts; name it .jsonl")
    check_output(out, source)
    layout = Layout(text=text, id=id_, title=title, encoding=encoding, header=not no_header)
    texts = Texts(source, layout, skip_bad=skip_bad)
    read = texts.documents() if files else _passages(texts, source)
    splitter = Splitter.load(model, max_tokens=max_tokens, overlap=overlap)
    count = _Count()
    with progress_bar(None if files else texts.count) as meter:
        write_parts(out, count.watched(splitter.split(read), meter.count))
    if files and (others := other_files(source)):
        kinds = ", ".join(f"{count} {ending}" for ending, count in sorted(others.items()))
        note(f"left out: {counted(others.total(), 'other file')} ({kinds}); .txt and .md are read")
    if splitter.max_tokens > splitter.model_reads:
        note(
            f"{model} reads {splitter.model_reads} tokens, unless corom index is told "
            f"--max-length {splitter.max_tokens}"
        )
    if as_json:
        say_json({"out": out, **asdict(count), "max_tokens": splitter.max_tokens})
        return
    say(
        f"{out}: {counted(count.texts, 'text')}, {count.cut:,} of them longer than "
        f"{splitter.max_tokens} tokens, in {counted(count.passages, 'passage')}"
    )


def _passages(texts: Texts, source: str) -> Iterator[Passage]:
    """Return the passages of the input; who gives a folder of texts is told of --files."""
    try:
        return texts.passages()
    except FormatError as error:
        if Path(source).is_dir():
            raise InputError(f"give --files if each file in it is a text; {error}") from None
        raise


@dataclass
class _Count:
    """What has been written."""

    texts: int = 0
    cut: int = 0
    passages: int = 0

    def watched(self, parts: Iterator[Part], progress: Callable[[int], None]) -> Iterator[Part]:
        """Yield the parts, count them and say so."""
        for part in parts:
            self.passages += 1
            self.texts += part.is_first
            self.cut += part.is_first and not part.is_whole
            if part.is_first:
                progress(self.texts)
            yield part
