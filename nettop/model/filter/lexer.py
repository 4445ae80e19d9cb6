"""A filter's text into tokens, in one pass, each with its position for the caret."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nettop.errors import FilterError
from nettop.text.sanitize import clean

MAX_LENGTH = 8192  # characters

_TOKEN = re.compile(
    r"""(?P<space>[ ]+)
      | (?P<quoted>"[^"]*")
      | (?P<symbol>&&|\|\||<=|>=|==|!=|[()<>=!])
      | (?P<word>[^ ()<>=!&|"]+)""",
    re.VERBOSE,
)
_BLANKS = str.maketrans("\t\n\r\v\f", "     ")


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a symbol, the end of the text, or the character that begins none of these ("unreadable")."""

    kind: str  # "word", "quoted", "symbol", "end", "unreadable"
    text: str
    position: int

    @property
    def word(self) -> str:
        """The lower-case word of the language; "" for a quoted one, a symbol and the end."""
        return self.text.lower() if self.kind == "word" else ""

    @property
    def value(self) -> str | None:
        """What a person wrote as a value: a word or a quoted text; None for a symbol and the end."""
        return self.text if self.kind in ("word", "quoted") else None


def tokens(text: str) -> list[Token]:
    """The tokens of text, the end last; an unreadable character ends them, too. FilterError for too long a text."""
    flat = text.translate(_BLANKS)
    if len(flat) > MAX_LENGTH:
        raise refusal(f"the filter is longer than {MAX_LENGTH} characters", flat[:60] + "…", 60)
    found: list[Token] = []
    position = 0
    while position < len(flat):
        match = _TOKEN.match(flat, position)
        if match is None:
            found.append(Token("unreadable", flat[position], position))
            break
        kind = match.lastgroup or ""
        if kind != "space":
            found.append(Token(kind, match.group().strip('"') if kind == "quoted" else match.group(), position))
        position = match.end()
    found.append(Token("end", "", len(flat.rstrip(" "))))
    return found


def refusal(what: str, text: str, position: int) -> FilterError:
    """A FilterError whose expression is safe for a terminal and whose caret still stands under the place."""
    flat = text.translate(_BLANKS)
    return FilterError(clean(what), clean(flat), len(clean(flat[:position])))


def unreadable(char: str) -> str:
    """Why a character begins no token."""
    if char in "&|":
        return f"“{char}” alone means nothing here: say {char * 2}, or “and”, “or”"
    return "a quote that is not closed" if char == '"' else f"“{clean(char)}” means nothing here"
