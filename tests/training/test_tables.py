from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest

from corom.errors import FormatError, InputError
from corom.training.tables import as_table, from_table, merged, read_toml


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    steps: int = 3
    quick: bool = False
    kind: Literal["one", "two"] = "one"
    files: tuple[str, ...] = ()
    weights: dict[str, float] = field(default_factory=dict)
    limit: int | None = None
    inner: Inner = field(default_factory=Inner)
    spare: Inner | None = None


FULL = {
    "name": "stage-1",
    "steps": 7,
    "quick": True,
    "kind": "two",
    "files": ["a", "b"],
    "weights": {"toy*": 2, "kg": 0.5},
    "limit": 9,
    "inner": {"rate": 1},
    "spare": {"rate": 2.5},
}


def test_a_table_becomes_settings_and_back():
    settings = from_table(Outer, FULL)
    assert settings.files == ("a", "b")
    assert settings.weights == {"toy*": 2.0, "kg": 0.5}
    assert settings.inner == Inner(rate=1.0)
    assert settings.spare == Inner(rate=2.5)
    assert from_table(Outer, as_table(settings)) == settings
    assert from_table(Outer, {"name": "x"}) == Outer(name="x")
    assert from_table(Outer, as_table(Outer(name="x"))) == Outer(name="x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": 1}, r"unknown setting step; did you mean steps\?"),
        ({"zzz": 1}, "unknown setting zzz; known are files, inner"),
        ({"inner": {"rat": 1}}, r"unknown setting inner\.rat; did you mean rate\?"),
        ({"steps": "7"}, "the setting steps is '7'; expected int"),
        ({"steps": True}, "the setting steps is True; expected int"),
        ({"steps": 2.0}, r"the setting steps is 2\.0; expected int"),
        ({"quick": 1}, "expected bool"),
        ({"kind": "three"}, "the setting kind is 'three'; expected 'one' or 'two'"),
        ({"files": "a"}, "the setting files is 'a'; expected a list"),
        ({"files": ["a", 3]}, r"the setting files\[1\] is 3; expected str"),
        ({"weights": {"kg": "much"}}, r"the setting weights\.kg is 'much'; expected a finite"),
        ({"weights": [1]}, "expected a table"),
        ({"inner": 3}, "the setting inner is 3; expected a table"),
        ({"inner": {"rate": float("nan")}}, "expected a finite number"),
        ({"limit": "9"}, "the setting limit is '9'; expected int"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change, message):
    with pytest.raises(InputError, match=message):
        from_table(Outer, {**FULL, **change})


def test_none_is_a_word_in_a_file():
    assert from_table(Outer, {**FULL, "limit": "none", "spare": "none"}).limit is None
    with pytest.raises(InputError, match="expected int"):
        from_table(Outer, {**FULL, "steps": "none"})


def test_a_missing_setting_is_named():
    with pytest.raises(InputError, match="the setting name is missing"):
        from_table(Outer, {})


def test_toml_files(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('name = "x"\n[inner]\nrate = 1.5\n', encoding="utf-8")
    assert read_toml(path) == {"name": "x", "inner": {"rate": 1.5}}
    path.write_text("name =", encoding="utf-8")
    with pytest.raises(FormatError, match="not valid TOML"):
        read_toml(path)
    with pytest.raises(FormatError, match="no such file"):
        read_toml(tmp_path / "b.toml")


def test_a_file_says_what_differs_from_the_one_it_extends(tmp_path):
    (tmp_path / "a.toml").write_text('name = "a"\n[weights]\n"x*" = 1.0\n"*" = 0.0\n')
    (tmp_path / "b.toml").write_text('extends = "a.toml"\n[weights]\n"y*" = 2.0\n"x*" = 3.0\n')
    (tmp_path / "c.toml").write_text('extends = "b.toml"\nname = "c"\n')
    found = read_toml(tmp_path / "c.toml")
    assert found == {"name": "c", "weights": {"y*": 2.0, "x*": 3.0, "*": 0.0}}
    assert list(found["weights"]) == ["y*", "x*", "*"]  # the first pattern that matches counts


@pytest.mark.parametrize(
    ("extends", "message"),
    [
        ('"none.toml"', "no such file"),
        ('"a.toml"', "extends this file"),
        ("3", "expected the name"),
    ],
)
def test_a_file_cannot_extend_what_is_not_there_or_itself(tmp_path, extends, message):
    (tmp_path / "a.toml").write_text('extends = "b.toml"\n')
    (tmp_path / "b.toml").write_text(f"extends = {extends}\n")
    with pytest.raises(FormatError, match=message):
        read_toml(tmp_path / "a.toml")


def test_what_is_new_is_matched_before_what_was_there():
    table = {"weights": {"toy*": 1.0, "*": 0.0}}
    changed = merged(table, {"weights": {"kg*": 0.5, "*": 0.1}})
    assert list(changed["weights"].items()) == [("kg*", 0.5), ("toy*", 1.0), ("*", 0.1)]
    assert table == {"weights": {"toy*": 1.0, "*": 0.0}}
