"""What verbs read: texts of files, folders and standard input, some of which cannot be read."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from corom.cli.console import STDIN, note
from corom.errors import FormatError, InputError

if TYPE_CHECKING:
    from corom.readers import Layout, SkipReport
    from corom.records import Passage, Query

T = TypeVar("T")


class Texts:
    """The texts of a file or folder, or of standard input (`-`), read anew each time.

    With `skip_bad` what cannot be read is left out, the same each time. How much that is is said
    once, at the end of the first reading; InputError, if it is everything. Without a source there
    are no texts, and InputError for whatever was chosen of them.
    """

    def __init__(self, source: str | None, layout: Layout, *, skip_bad: bool) -> None:
        from corom.readers import SkipReport

        self._source, self._layout = source, layout
        self._skips = SkipReport() if skip_bad else None
        self._told = False
        if source is None:
            self.refuse("without --file")

    def refuse(self, source: Path | str) -> None:
        """Raise InputError if anything is chosen: of what is no file of texts."""
        self._layout.refuse(source)
        if self._skips is not None:
            raise InputError(f"{source}: --skip-bad is for a file of texts")

    def passages(self) -> Iterator[Passage]:
        """Return the passages; a wrong path raises now, a bad record while iterating."""
        return self._opened(read_passages)

    def queries(self) -> Iterator[Query]:
        """Return the queries, as `passages` does."""
        return self._opened(_read_queries)

    def documents(self) -> Iterator[Passage]:
        """Return the files of a folder, each of which is a text, as `passages` does."""
        return self._opened(_read_documents)

    def count(self) -> int | None:
        """Return how many passages there are, reading all of them; None for standard input."""
        return None if self._source == STDIN else sum(1 for _ in self.passages())

    def _opened(self, read: Callable[..., Iterator[T]]) -> Iterator[T]:
        if self._source is None:
            return iter(())
        return self._watched(read(self._source, self._layout, skips=self._skips))

    def _watched(self, records: Iterator[T]) -> Iterator[T]:
        """Yield the records; say what was left out, or that something can be."""
        left = 0
        try:
            for record in records:
                left += 1
                yield record
        except FormatError as error:
            if error.reason not in ("empty text", "empty id"):
                raise
            raise InputError(f"{error}; --skip-bad leaves such records out") from None
        if self._skips is None or not self._skips.total or self._told:
            return
        if not left:
            raise InputError(f"{self._source} holds no text; {self._skips.describe()}")
        self._told = True
        note(self._skips.describe())


def read_passages(
    source: str, layout: Layout | None = None, *, skips: SkipReport | None = None
) -> Iterator[Passage]:
    """Return the passages of a file or folder, or of standard input (`-`), a text a line."""
    from corom.readers import open_passages
    from corom.readers.layout import FIXED
    from corom.records import Passage

    layout = layout or FIXED
    if source == STDIN:
        layout.refuse("standard input")
        return (Passage(*line) for line in _read_stdin(skips))
    return open_passages(Path(source), layout=layout, skips=skips)


def nameable(passages: Iterator[Passage]) -> Iterator[Passage]:
    """Yield the passages; refuse one that parts could not be named after, before hours pass."""
    from corom.splitting import check_text_id

    for passage in passages:
        check_text_id(passage.id)
        yield passage


def _read_queries(source: str, layout: Layout, *, skips: SkipReport | None) -> Iterator[Query]:
    from corom.readers import open_queries
    from corom.records import Query

    if source == STDIN:
        layout.refuse("standard input")
        return (Query(*line) for line in _read_stdin(skips))
    return open_queries(Path(source), layout=layout, skips=skips)


def _read_documents(source: str, layout: Layout, *, skips: SkipReport | None) -> Iterator[Passage]:
    from corom.readers import open_documents

    layout.refuse_columns(source)
    return open_documents(source, encoding=layout.encoding, skips=skips)


def _read_stdin(skips: SkipReport | None) -> Iterator[tuple[str, str]]:
    """Yield number and text of each line."""
    from corom.readers.fields import require_text
    from corom.readers.lines import read_each

    def parse(line: tuple[int, bytes]) -> tuple[str, str]:
        number, raw = line
        return str(number), require_text(_stdin_line(raw, number))

    name, lines = Path("standard input"), enumerate(sys.stdin.buffer, 1)
    return read_each(((name, line[0], line) for line in lines), parse, skips=skips)


def stdin_text(number: int) -> str | None:
    """Return the next line, None at the end: as the terminal writes it, or from a pipe in UTF-8."""
    from corom.readers.lines import BadRecordError

    try:
        if sys.stdin.isatty():
            return sys.stdin.readline() or None
        raw = sys.stdin.buffer.readline()
        return _stdin_line(raw, number) if raw else None
    except UnicodeDecodeError:
        said = f"is not {sys.stdin.encoding}, which the terminal is said to write"
    except BadRecordError as bad:
        said = str(bad)
    raise FormatError(said, path="standard input", line=number)


def _stdin_line(raw: bytes, number: int) -> str:
    """Return the text of a line of standard input; BadRecordError if it is not UTF-8."""
    from corom.readers.lines import decoded, line_content

    return decoded(line_content(raw, first=number == 1)).strip("\r\n")
