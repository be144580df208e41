"""Lines and records of data files: opened whatever the compression, numbered and checked.

Lines end at a line feed only (a carriage return before it is dropped): the other characters that
Python calls line ends occur inside medical texts. A byte order mark says how a file is read, and is
skipped.
"""

from __future__ import annotations

import codecs
import io
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal, TypeAlias, TypeVar, cast, get_args

from corom.errors import FormatError, InputError
from corom.readers.compression import CHUNK, file_of, open_bytes

Encoding: TypeAlias = Literal["utf-8", "gb18030"]
"""Of a file of texts; gb18030 holds GBK and GB2312. In both a line feed is a byte of its own."""

TO_UTF8 = "convert the file to UTF-8, one in GBK by iconv -f gb18030 -t utf-8"
_FIRST = 10
BOM = b"\xef\xbb\xbf"
_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16", BOM: "utf-8-sig"}

T = TypeVar("T")
Raw = TypeVar("Raw")


class BadRecordError(Exception):
    """One record cannot be used; `reason` is the short name it is counted under."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


@dataclass
class SkipReport:
    """The records that readers left out: how many for which reason, and where the first ones lie.

    Pass one to a reader to go on after a bad record; without one the first bad record raises.
    A record counts once, however often its file is read.
    """

    counts: Counter[str] = field(default_factory=Counter)
    first: list[str] = field(default_factory=list)
    _places: set[tuple[Path, int | str]] = field(default_factory=set, repr=False)

    @property
    def total(self) -> int:
        """How many records were left out."""
        return self.counts.total()

    def add(self, error: FormatError, *, reason: str) -> None:
        """Count the record at the error's place as left out."""
        # A record without a line, such as a query of a folder, is told by what is said of it.
        place = (error.path, error.line or str(error))
        if place in self._places:
            return
        self._places.add(place)
        self.counts[reason] += 1
        if len(self.first) < _FIRST:
            self.first.append(str(error))

    def describe(self) -> str:
        """Return one line that says what was left out; it repeats no text of the data."""
        if not self.counts:
            return "nothing was left out"
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.counts.most_common())
        left_out = "1 record was" if self.total == 1 else f"{self.total} records were"
        return f"{left_out} left out ({reasons}); the first: {self.first[0]}"


@contextmanager
def open_text(path: Path | str, encoding: Encoding | None = None) -> Iterator[IO[bytes]]:
    """Yield the uncompressed bytes of a file of text, in `encoding` if a mark says another.

    UTF-16 is what Excel's "Unicode text" is, and Notepad's "Unicode"; one in UTF-8 with a mark may
    lie among others in GBK. Raises as `open_bytes` does, and InputError for another encoding.
    """
    if encoding not in (None, *get_args(Encoding)):
        known = ", ".join(get_args(Encoding))
        raise InputError(f"encoding {encoding!r} is none of {known}, which reads GBK, too")
    with open_bytes(path) as file:
        # No text in GB18030 begins as one of the marks.
        start = cast("io.BufferedReader", file).peek(3)
        form = next((form for mark, form in _MARKS.items() if start.startswith(mark)), None)
        if form is None or (form == "utf-8-sig" and encoding != "gb18030"):
            yield file
        else:
            yield file_of(_recoded(file, form, encoding or "utf-8"))


def _recoded(file: IO[bytes], form: str, encoding: Encoding) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(form)()
    try:
        while chunk := file.read(CHUNK):
            yield decoder.decode(chunk).encode(encoding)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        said = form.upper().removesuffix("-SIG")
        raise OSError(f"it begins as {said} and is not") from None


def numbered_lines(
    *paths: Path | str, encoding: Encoding | None = None
) -> Iterator[tuple[Path, int, bytes]]:
    """Yield (file, line number from 1, line without its end); several files are one byte stream.

    That is how Multi-CPR cut its medical corpus: anywhere, even inside a character. A line that
    crosses a border is reported where it begins. What is in another encoding by its mark is made
    bytes in `encoding`.
    """
    files = [Path(path) for path in paths]
    rest, start = b"", (Path(), 0)
    for path in files:
        with open_text(path, encoding) as file:
            for number, line in enumerate(file, 1):
                if rest:
                    line = rest + line
                else:
                    start = (path, number)
                if not line.endswith(b"\n"):
                    rest = line
                    continue
                rest = b""
                yield *start, line_content(line, first=start == (files[0], 1))
    if rest:
        yield *start, line_content(rest, first=start == (files[0], 1))


def line_content(line: bytes, *, first: bool) -> bytes:
    """Return a line without its end and, if it is a file's `first`, without a byte order mark."""
    line = line.removesuffix(b"\n").removesuffix(b"\r")
    return line.removeprefix(BOM) if first else line


def read_records(
    paths: Sequence[Path | str],
    parse: Callable[[str], T | None],
    *,
    key: Callable[[T], Hashable] | None = None,
    skips: SkipReport | None,
    encoding: Encoding | None = None,
) -> Iterator[T]:
    """Yield what `parse` makes of every line, as `read_each` does.

    Without an encoding it is UTF-8, and no message says that there is a choice.
    """

    def parsed(raw: bytes) -> T | None:
        return parse(decoded(raw, encoding))

    return read_each(numbered_lines(*paths, encoding=encoding), parsed, key=key, skips=skips)


def read_each(
    records: Iterable[tuple[Path, int | None, Raw]],
    parse: Callable[[Raw], T | None],
    *,
    key: Callable[[T], Hashable] | None = None,
    skips: SkipReport | None,
) -> Iterator[T]:
    """Yield what `parse` makes of each record of a file and a line; nothing for None.

    One that it refuses by a BadRecordError is counted in `skips` or raises FormatError, with file
    and line; so is one whose `key` an earlier one has (about 100 bytes for each key).
    """
    check_new = require_unique()
    for path, line, raw in records:
        try:
            record = parse(raw)
            if record is None:
                continue
            if key is not None:
                check_new(key(record))
        except BadRecordError as bad:
            error = FormatError(str(bad), path=path, line=line, reason=bad.reason)
            if skips is None:
                raise error from None
            skips.add(error, reason=bad.reason)
        else:
            yield record


def require_unique() -> Callable[[Hashable], None]:
    """Return a function that refuses what it was given before (about 100 bytes for each key)."""
    seen: set[Hashable] = set()

    def check(key: Hashable) -> None:
        if key in seen:
            raise BadRecordError("duplicate", "repeats the id of an earlier line")
        seen.add(key)

    return check


def decoded(raw: bytes, encoding: Encoding | None = None) -> str:
    """Return a line as text; it must be in the encoding, by default UTF-8."""
    try:
        return raw.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        raise undecodable(encoding, f" at byte {error.start + 1}") from None


def undecodable(encoding: Encoding | None, where: str = "") -> BadRecordError:
    """Return what is wrong with bytes that are not in the encoding; None: UTF-8, without choice."""
    name = (encoding or "utf-8").upper()
    ways = {"utf-8": "read one in GBK with --encoding gb18030", "gb18030": "check --encoding"}
    way = TO_UTF8 if encoding is None else ways[encoding]
    return BadRecordError(f"invalid {name}", f"is not {name}{where}; {way}")
