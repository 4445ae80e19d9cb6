"""The width of texts on a terminal."""

from __future__ import annotations

import unicodedata


def cells_of(text: str) -> int:
    """Return the cells that a terminal draws the text in."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) != 0 for character in text)
