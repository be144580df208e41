"""Files plain or compressed, as the ends of their names say: .gz, .xz, .zst; .zip is only read."""

from __future__ import annotations

import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from corom.errors import FormatError, InputError
from corom.extras import need

COMPRESSIONS = (".gz", ".xz", ".zst", ".zip")
BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
CHUNK = 1 << 16


def plain_name(name: str) -> str:
    """Return a file's name without the ending of its compression."""
    return next((name[: -len(end)] for end in COMPRESSIONS if name.lower().endswith(end)), name)


@contextmanager
def open_bytes(path: Path | str) -> Iterator[IO[bytes]]:
    """Yield the uncompressed bytes of a file: plain, .gz, .xz, .zst or a .zip that holds one file.

    Raises InputError when there is no such file, FormatError when it is broken or cut short.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file; check the path")
    try:
        with path.open("rb") as raw, decompressed(raw, path.suffix) as file:
            yield file
    except BROKEN as error:
        raise FormatError(
            f"cannot be read ({type(error).__name__}: {error}); check it or fetch it again",
            path=path,
        ) from error


@contextmanager
def decompressed(raw: IO[bytes], ending: str) -> Iterator[IO[bytes]]:
    """Yield what a file holds, uncompressed as the ending of its name says."""
    ending = ending.lower()
    if ending == ".zip":
        with zipfile.ZipFile(raw) as archive, archive.open(_only_member(archive)) as member:
            yield member
    elif ending == ".gz":
        if not raw.read(1):  # gzip would take it for a file of nothing
            raise EOFError("it is empty")
        raw.seek(0)
        with gzip.open(raw) as file:
            yield cast("IO[bytes]", file)
    elif ending == ".xz":
        with lzma.open(raw) as file:
            yield cast("IO[bytes]", file)
    elif ending == ".zst":
        yield file_of(_zstd_blocks(raw))
    else:
        yield raw


def _only_member(archive: zipfile.ZipFile) -> str:
    names = [
        name
        for name in archive.namelist()
        if not name.endswith("/") and not name.startswith("__MACOSX/")
    ]
    if len(names) != 1:
        raise zipfile.BadZipFile(f"it holds {len(names)} files instead of one")
    if archive.getinfo(names[0]).flag_bits & 1:
        raise zipfile.BadZipFile("it is encrypted")
    return names[0]


def _zstd_blocks(raw: IO[bytes]) -> Iterator[bytes]:
    # zstandard's own stream reader takes a file that was cut short for a whole one.
    zstandard = need("zstandard", extra="data")
    frame, size = None, 0
    while chunk := raw.read(CHUNK):
        size += len(chunk)
        while chunk:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            try:
                yield frame.decompress(chunk)
            except zstandard.ZstdError as error:
                raise OSError(str(error)) from None
            chunk, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
    if frame is not None or not size:
        raise EOFError("it ends inside a frame" if size else "it is empty")


@contextmanager
def compressed(raw: IO[bytes], ending: str) -> Iterator[IO[bytes]]:
    """Yield what to write to, which reaches the file compressed as the ending of its name says."""
    ending = ending.lower()
    if ending == ".gz":
        # No name and no time in the header: they would make equal contents unequal files.
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as file:
            yield cast("IO[bytes]", file)
    elif ending == ".xz":
        with lzma.open(raw, "wb") as file:
            yield cast("IO[bytes]", file)
    elif ending == ".zst":
        compressor = need("zstandard", extra="data").ZstdCompressor()
        with compressor.stream_writer(raw, closefd=False) as file:
            yield file
    else:
        yield raw


def file_of(blocks: Iterator[bytes]) -> IO[bytes]:
    """Return the bytes of blocks as a file."""
    return io.BufferedReader(_BlockFile(blocks), CHUNK)


class _BlockFile(io.RawIOBase):
    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - the signature of io
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
