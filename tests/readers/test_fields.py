"""What a line must hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from corom.readers import fields
from corom.readers.lines import BadRecordError

LONG = "痛" * 100_000


@pytest.mark.parametrize("line", ["", "1", "1\t头痛", f"1\t{LONG}", "1\t", "\t"])
def test_columns_are_what_tabs_separate(line: str) -> None:
    names = [f"column {n}" for n in range(line.count("\t") + 1)]
    assert "\t".join(fields.split_columns(line, *names)) == line
    with pytest.raises(BadRecordError, match="separated by tabs"):
        fields.split_columns(line, *names, "one more")


@pytest.mark.parametrize("check", [fields.require_id, fields.require_text])
def test_what_is_not_empty_stays_as_it_is(check: Callable) -> None:
    for value in ("1", " 1 ", "头痛", "Aspirin 100mg", "😀", LONG):
        assert check(value) == value
    for value in ("", " ", "\u3000", "\t\n"):
        with pytest.raises(BadRecordError, match="has an empty passage"):
            check(value, name="passage")


@pytest.mark.parametrize(("value", "grade"), [("0", 0), ("1", 1), ("-1", -1), ("007", 7)])
def test_a_grade_is_a_whole_number(value: str, grade: int) -> None:
    assert fields.require_grade(value) == grade


@pytest.mark.parametrize("value", ["", " 1", "1.0", "+1", "--1", "一", "１", "1e3", "9" * 10])
def test_other_grades_are_refused_without_being_repeated(value: str) -> None:
    with pytest.raises(BadRecordError, match="not an integer") as caught:
        fields.require_grade(value)
    assert value.strip() not in str(caught.value) or len(value.strip()) < 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "a JSON list, not an object"),
        ("null", "a JSON NoneType, not an object"),
        ('"头痛"', "a JSON str, not an object"),
        (r'{"text": "\ud83d"}', "half a surrogate pair"),
        (r'{"\udc00": 1}', "half a surrogate pair"),
    ],
)
def test_a_line_that_is_no_object(line: str, message: str) -> None:
    with pytest.raises(BadRecordError, match=message) as caught:
        fields.json_object(line)
    assert "头痛" not in str(caught.value)


def test_an_object_with_a_whole_surrogate_pair() -> None:
    assert fields.json_object(r'{"text": "\ud83d\ude00"}') == {"text": "😀"}


def test_fields_by_the_first_name_that_is_there() -> None:
    record = {"_id": 7, "docid": "8", "text": "头痛", "title": None}
    assert fields.id_field(record, "id", "_id", "docid") == "7"
    assert fields.id_field(record, "docid", "_id") == "8"
    assert fields.text_field(record, "contents", "text") == "头痛"
    assert fields.optional_text(record, "title") == fields.optional_text(record, "none") == ""
    assert fields.list_field(record, "title") == fields.list_field(record, "none") == []
    assert fields.list_field({"a": [1, "x"]}, "a") == [1, "x"]


@pytest.mark.parametrize("value", [True, None, 1.5, ["1"], {"id": "1"}])
def test_ids_of_another_type(value: object) -> None:
    with pytest.raises(BadRecordError, match="'id' that is not a string"):
        fields.id_field({"id": value}, "id")


@pytest.mark.parametrize("value", [True, None, 7, ["头痛"], {"text": "头痛"}])
def test_texts_and_lists_of_another_type(value: object) -> None:
    with pytest.raises(BadRecordError, match="'text' that is not a string"):
        fields.text_field({"text": value}, "text")
    if value is not None:
        with pytest.raises(BadRecordError, match="'text' that is not a string"):
            fields.optional_text({"text": value}, "text")
        if not isinstance(value, list):
            with pytest.raises(BadRecordError, match="'text' that is not a list"):
                fields.list_field({"text": value}, "text")


def test_missing_fields_are_named() -> None:
    with pytest.raises(BadRecordError, match="has no field 'id' or '_id'"):
        fields.id_field({}, "id", "_id")
    with pytest.raises(BadRecordError, match="has no field 'text'"):
        fields.text_field({"id": "1"}, "text")
