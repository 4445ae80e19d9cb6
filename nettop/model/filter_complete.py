"""Completion of a filter under the cursor: the words the parser itself would take there, each with a note."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from nettop.errors import FilterError
from nettop.model import filter_words as vocabulary
from nettop.model.filter_notes import note
from nettop.model.filter_parser import Expected, Parser
from nettop.model.filter_values import SERVICES
from nettop.text.sanitize import clean

_WORD = re.compile(r"[^\s()<>=!&|\"]*")
_PLAIN = re.compile(r"[^\s()<>=!&|\"]+")
_VALUES: dict[str, tuple[str, ...]] = {
    "state": tuple(sorted({*vocabulary.STATE_NAMES, *vocabulary.BARE_STATUS})),
    "status": tuple(sorted(vocabulary.STATUS_WORDS)),
    "proto": tuple(sorted(vocabulary.PROTOCOLS)),
    "event": vocabulary.EVENTS,
    "port": tuple(sorted(SERVICES)),
    "portrange": tuple(sorted(SERVICES)),
}
# What most filters begin with; who has typed nothing sees these first, the others follow by name.
_FIRST = (
    *("host", "net", "port", "src", "dst", "tcp", "udp", "icmp", "state", "nat", "rate", "bytes", "mark", "process"),
    *("chain", "verdict", "not", "("),
)
_PLACES = {word: place for place, word in enumerate(_FIRST)}


@dataclass(frozen=True, slots=True)
class Option:
    """A word that may stand there, and what it means ("" where that is plain)."""

    word: str
    note: str


@dataclass(frozen=True, slots=True)
class Completion:
    """text[start:end] is the word under the cursor; each option may stand in its place."""

    start: int
    end: int
    options: tuple[Option, ...]


def complete(text: str, cursor: int, kind: str, known: Mapping[str, Sequence[str]] | None = None) -> Completion:
    """What may stand at the cursor in a filter for rows of this kind.

    `known` are values that only the caller can know, by field: {"netns": ["gw-a"], "process": […]}. Options begin with
    what is typed of the word left of the cursor. There are none inside quotes, and none behind an error.
    """
    cursor = max(0, min(cursor, len(text)))
    start = cursor - len(_run(text[:cursor][::-1]))
    end = cursor + len(_run(text[cursor:]))
    expected = _expected(text[:start], kind)
    typed = text[start:cursor].lower()
    found = {option.word: option for option in _options(expected, known or {}) if option.word.lower().startswith(typed)}
    return Completion(start, end, tuple(found.values()))


def _run(text: str) -> str:
    match = _WORD.match(text)
    return match.group() if match else ""


def _expected(before: str, kind: str) -> Expected:
    """What the parser looks for where `before` ends; nothing when it does not get there."""
    try:
        parser = Parser(before, kind)
    except FilterError:
        return Expected()
    with suppress(FilterError):
        parser.parse()
    return parser.expected


def _options(expected: Expected, known: Mapping[str, Sequence[str]]) -> Iterator[Option]:
    """Values first: who has typed `state ` looks for a state."""
    for of in expected.values:
        field = vocabulary.FIELDS.get(of)
        for value in known.get(field.name if field is not None else of, ()):
            if '"' not in value and value.strip() and clean(value) == value:
                yield Option(value if _PLAIN.fullmatch(value) else f'"{value}"', "")
        for value in _VALUES.get(of, ()):
            yield Option(value, note(value, of))
    for word in sorted(expected.words, key=lambda word: _PLACES.get(word, len(_PLACES))):
        yield Option(word, note(word))
