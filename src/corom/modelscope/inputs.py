"""What ModelScope's pipelines take: `{source_sentence, sentences_to_compare}`, checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

from corom.errors import InputError

SOURCE, COMPARE = "source_sentence", "sentences_to_compare"


class Input(TypedDict, total=False):
    """What a pipeline takes: the first key is needed, the second may be absent, None or empty."""

    source_sentence: Sequence[str]
    sentences_to_compare: Sequence[str] | None


class Checked(NamedTuple):
    """What was given."""

    inputs: list[tuple[list[str], list[str]]]
    """source sentences and those to compare, of each"""
    single: bool
    """whether it was one input, no list"""


def checked_inputs(given: Input | Sequence[Input]) -> Checked:
    """Return one input or a list of them, checked; InputError names what is wrong with which."""
    if isinstance(given, Mapping):
        return Checked([_checked(given, "the input")], single=True)
    if isinstance(given, str | bytes) or not isinstance(given, Sequence):
        raise InputError(
            f"the input must be {{'{SOURCE}': [text, …]}} or a list of such, "
            f"not {type(given).__name__}"
        )
    return Checked([_checked(each, f"input {n}") for n, each in enumerate(given)], single=False)


def _checked(given: Any, name: str) -> tuple[list[str], list[str]]:  # noqa: ANN401 - anything
    """Return source sentences and sentences to compare."""
    if not isinstance(given, Mapping):
        raise InputError(f"{name} must be {{'{SOURCE}': [text, …]}}, not {type(given).__name__}")
    if unknown := [key for key in given if key not in (SOURCE, COMPARE)]:
        raise InputError(f"{name} has the unknown key {unknown[0]!r}; it takes {SOURCE}, {COMPARE}")
    sources = list(_texts(given.get(SOURCE), f"{SOURCE} of {name}"))
    if not sources:
        raise InputError(f"{SOURCE} of {name} must hold at least one text")
    others = given.get(COMPARE)
    return sources, list(_texts([] if others is None else others, f"{COMPARE} of {name}"))


def _texts(given: Any, name: str) -> Iterator[str]:  # noqa: ANN401
    if isinstance(given, str | bytes) or not isinstance(given, Sequence):
        raise InputError(f"{name} must be a list of texts, not {type(given).__name__}")
    for position, text in enumerate(given):
        if not isinstance(text, str):
            raise InputError(f"{name}: text {position} is {type(text).__name__}, not str")
        yield text
