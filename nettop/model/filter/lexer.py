"""The lexer of filters: text to tokens in one pass, each with its position for the caret."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nettop.errors import FilterError
from nettop.text.sanitize import clean

MAX_LENGTH = 8192  # characters

_TOKEN = re.compile(
    r"""(?P<space>[ ]+)
      | (?P<quoted>"[^"]*")
      | (?P<symbol>&&|\|\||<=|>=|==|!=|[()<>=!&|])
      | (?P<word>[^ ()<>=!&|"]+)""",
    re.VERBOSE,
)
_BLANKS = str.maketrans("\t\n\r\v\f", "     ")


@dataclass(frozen=True, slots=True)
class FilterToken:
    """A word, a symbol, the end of the text, or the character that begins no token ("unreadable")."""

    kind: str  # "word", "quoted", "symbol", "end", "unreadable"
    text: str
    position: int

    @property
    def word(self) -> str:
        """The lower-case word of the language; "" for a quoted one, a symbol and the end."""
        return self.text.lower() if self.kind == "word" else ""

    @property
    def value(self) -> str | None:
        """The text as a value: a word or a quoted text; None for a symbol and the end."""
        return self.text if self.kind in ("word", "quoted") else None


def tokens(text: str) -> list[FilterToken]:
    """Return the tokens; the last is the end or an unreadable character and the end. FilterError: text too long."""
    flat = text.translate(_BLANKS)
    if len(flat) > MAX_LENGTH:
        raise refusal(f"the filter is longer than {MAX_LENGTH} characters", flat[:60] + "…", 60)
    found: list[FilterToken] = []
    position = 0
    while position < len(flat):
        match = _TOKEN.match(flat, position)
        if match is None:
            found.append(FilterToken("unreadable", flat[position], position))
            break
        kind = match.lastgroup or ""
        if kind != "space":
            found.append(FilterToken(kind, match.group().strip('"') if kind == "quoted" else match.group(), position))
        position = match.end()
    found.append(FilterToken("end", "", len(flat.rstrip(" "))))
    return found


def refusal(reason: str, text: str, position: int) -> FilterError:
    """Return a FilterError with an expression that is safe for a terminal, and the caret at the same character."""
    flat = text.translate(_BLANKS)
    return FilterError(clean(reason), clean(flat), len(clean(flat[:position])))


def meaningless(char: str) -> str:
    """Return why a character has no meaning here."""
    if char in "&|":
        return f"“{char}” alone means nothing here: say {char * 2}, or “and”, “or”"
    return "a quote that is not closed" if char == '"' else f"“{clean(char)}” means nothing here"
