from __future__ import annotations

import pytest

from corom.errors import InputError
from corom.stores.uri import is_uri, parse_uri


@pytest.mark.parametrize(
    ("uri", "kind", "name", "target"),
    [
        ("milvus://db:19531/medical", "milvus", "medical", "http://db:19531"),
        ("milvus://db/medical/", "milvus", "medical", "http://db:19530"),
        ("milvuss://db:443/m_1", "milvus", "m_1", "https://db:443"),
        ("milvus://[::1]:9/m", "milvus", "m", "http://[::1]:9"),
        ("milvus:///data/a%20b.db", "milvus", "corom", "/data/a b.db"),
        ("milvus:///data/a.db?collection=other", "milvus", "other", "/data/a.db"),
        ("postgresql://me@db:5433/base/m", "postgres", "m", "postgresql://me@db:5433/base"),
        ("postgres://db/base/m", "postgres", "m", "postgresql://db/base"),
        (
            "postgresql:///base/m?host=/tmp/s",
            "postgres",
            "m",
            "postgresql:///base?host=/tmp/s",
        ),
    ],
)
def test_where_a_uri_leads(uri: str, kind: str, name: str, target: str) -> None:
    found = parse_uri(uri)
    assert (found.kind, found.name, found.target) == (kind, name, target)
    assert found.is_file == uri.startswith("milvus:///")


@pytest.mark.parametrize(
    ("uri", "what"),
    [
        ("http://db/m", "http"),
        ("milvus://db:99999/m", "port"),
        ("milvus://db:x/m", "port"),
        ("milvus://[::1/m", "host of the URI"),
        ("postgresql://[::1/base/m", "host of the URI"),
        ("milvus://:19530/m", "names no host"),
        ("milvus://db/", "name of an index"),
        ("milvus://db/1a", "name of an index"),
        ("milvus://db/a-b", "name of an index"),
        ("milvus://db/" + "a" * 41, "name of an index"),
        ("milvus://db/a?x=1", "options nobody reads: x"),
        ("milvus:///data/a.sqlite", r"ends in \.db"),
        ("milvus:///a.db?nonsense=1", "nonsense"),
        ("postgresql://db/base", "DATABASE/NAME"),
        ("postgresql://db/base/a;drop", "name of an index"),
    ],
)
def test_what_is_refused(uri: str, what: str) -> None:
    with pytest.raises(InputError, match=what):
        parse_uri(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "milvus://me:secret@db:1/m",
        "postgresql://me:secret@db/base/m",
        "postgresql://db/base/m?password=secret&host=h",
        "postgresql://db/base/m?host=h&sslpassword=secret&sslmode=require",
        "postgresql://db/base/m?PassWord=secret",
    ],
)
def test_a_password_is_not_shown(uri: str) -> None:
    found = parse_uri(uri)
    assert "secret" not in found.shown
    assert "secret" not in repr(found)
    assert "secret" in found.target + found.token


def test_the_token_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILVUS_TOKEN", "key")
    assert parse_uri("milvus://db/m").token == "key"  # noqa: S105
    assert parse_uri("milvus://me:p%40ss@db/m").token == "me:p@ss"  # noqa: S105


def test_paths_are_no_uris() -> None:
    for path in ("index", "/data/index", "milvus", "./milvus:a", "s3://bucket/index"):
        assert not is_uri(path)
    assert is_uri("milvus:///a.db")
    assert is_uri("postgresql://db/base/m")
