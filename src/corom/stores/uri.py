"""Where an index on a server is: the URIs that `--to` and `--index` take.

| URI | what |
|---|---|
| `milvus://HOST:PORT/NAME` | the collection NAME of a Milvus server or cluster |
| `milvuss://HOST:PORT/NAME` | the same over TLS |
| `milvus:///PATH/FILE.db` | Milvus Lite in a file; `?collection=NAME`, or it is `corom` |
| `postgresql://USER@HOST:PORT/DATABASE/NAME` | the index NAME in a database with pgvector |

Secrets are best left out: `MILVUS_TOKEN` (`user:password` or a key) and what libpq reads
(`PGPASSWORD`, `~/.pgpass`) are used. Whatever a URI holds, no message shows its password.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from corom.environment import milvus_token
from corom.errors import InputError

Kind: TypeAlias = Literal["milvus", "postgres"]
_SCHEMES: dict[str, Kind] = {
    "milvus": "milvus",
    "milvuss": "milvus",
    "postgres": "postgres",
    "postgresql": "postgres",
}
_MILVUS_PORT = 19530
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")


@dataclass(frozen=True, kw_only=True)
class Address:
    """A parsed URI."""

    kind: Kind
    name: str
    """of the index: a name the server may keep and we may move to a new one"""
    target: str
    """what the server's own client connects to"""
    shown: str
    """the URI without its password"""
    token: str = ""
    """Milvus: user:password, or a key"""

    def __repr__(self) -> str:
        return f"Address({self.shown})"

    @property
    def is_file(self) -> bool:
        """Whether this is a file of Milvus Lite."""
        return self.kind == "milvus" and "://" not in self.target


def is_uri(text: str) -> bool:
    """Whether a text is meant as the URI of a server rather than as a path."""
    return text.partition("://")[0] in _SCHEMES and "://" in text


def parse_uri(uri: str) -> Address:
    """Return where a URI leads; InputError says what is wrong with it, but not its password."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        raise InputError("the host of the URI is wrong; check its brackets") from None
    try:
        kind, port = _SCHEMES[parts.scheme], parts.port
    except KeyError:
        known = ", ".join(f"{scheme}://" for scheme in _SCHEMES)
        raise InputError(
            f"the URI begins with {parts.scheme!r}, which is none of {known}"
        ) from None
    except ValueError:
        raise InputError("the port of the URI is no number from 0 to 65535") from None
    if kind == "postgres":
        return _postgres(uri)
    return _milvus_file(uri) if not parts.netloc else _milvus_server(uri, port or _MILVUS_PORT)


def _milvus_file(uri: str) -> Address:
    parts = urlsplit(uri)
    path, options = unquote(parts.path), dict(parse_qsl(parts.query))
    if not path.endswith(".db"):
        raise InputError(f"{uri} names no file; a file of Milvus Lite ends in .db")
    name = _checked(options.pop("collection", "corom"))
    _refuse(options)
    return Address(kind="milvus", name=name, target=path, shown=uri)


def _milvus_server(uri: str, port: int) -> Address:
    parts = urlsplit(uri)
    _refuse(dict(parse_qsl(parts.query)))
    name = _checked(unquote(parts.path.strip("/")))
    if not parts.hostname:
        raise InputError("the URI names no host; it begins milvus://HOST:PORT/NAME")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    scheme = "https" if parts.scheme == "milvuss" else "http"
    token = milvus_token() or ""
    if parts.username is not None:
        token = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Address(
        kind="milvus",
        name=name,
        target=f"{scheme}://{host}:{port}",
        shown=f"{parts.scheme}://{host}:{port}/{name}",
        token=token,
    )


def _postgres(uri: str) -> Address:
    parts = urlsplit(uri)
    database, _, name = parts.path.strip("/").partition("/")
    if not database or not name:
        raise InputError("the URI must end in /DATABASE/NAME, NAME being that of the index")
    _checked(unquote(name))
    login, _, place = parts.netloc.rpartition("@")
    user = login.partition(":")[0]
    query = f"?{parts.query}" if parts.query else ""
    # libpq takes passwords among the options, too.
    shown = urlencode(
        [(k, v) for k, v in parse_qsl(parts.query) if "password" not in k.lower()],
        quote_via=quote,
    )
    return Address(
        kind="postgres",
        name=unquote(name),
        target=f"postgresql://{parts.netloc}/{database}{query}",
        shown=f"postgresql://{f'{user}@' if user else ''}{place}/{database}/{name}"
        + (f"?{shown}" if shown else ""),
    )


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot be the name of an index on a server; take up to 40 letters, digits "
            "and underscores, beginning with a letter"
        )
    return name


def _refuse(options: dict[str, str]) -> None:
    if options:
        raise InputError(f"the URI has options nobody reads: {', '.join(sorted(options))}")
