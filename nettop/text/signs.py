"""Signs for a terminal whose character set lacks those of a text (LC_ALL=C): one ASCII character for each column."""

from __future__ import annotations

import codecs
import unicodedata
from typing import TextIO

_ERRORS = "nettop.signs"
_ASCII = {
    ">": "→▶▸›⇄≥", "<": "←◀≤", "^": "↑▲", "v": "↓▼▾✓", "~": "…≈", "-": "–━─┄┅", "|": "│┃┆┇▏▎▍▌", '"': "“”", "x": "×✖",
    "*": "●▆•", ".": "·▂", "_": "▁", ":": "▃", "=": "▄", "+": "▅", "%": "▇", "#": "█▉▊▋▤", "d": "Δ",
}  # fmt: skip
_SIGNS = {sign: character for character, signs in _ASCII.items() for sign in signs}


def without_escapes(stream: TextIO) -> None:
    """Have `stream` write a sign of its own character set for each character that it lacks, in as many columns."""
    if not codecs.lookup(stream.encoding or "ascii").name.startswith("utf") and hasattr(stream, "reconfigure"):
        stream.reconfigure(errors=_ERRORS)


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_sign, error.object[error.start : error.end])), error.end


def _sign(character: str) -> str:
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return ""
    return (_SIGNS.get(character) or _drawn(character) or "?") * (1 + (unicodedata.east_asian_width(character) in "WF"))


def _drawn(character: str) -> str:
    """Return the ASCII form of a letter, a line or a block; "": there is none."""
    letter = unicodedata.normalize("NFKD", character)[0]
    name = unicodedata.name(character, "")
    return letter if letter.isascii() else "+" if name.startswith("BOX DRAWINGS") else "#" if "BLOCK" in name else ""


codecs.register_error(_ERRORS, _replaced)
