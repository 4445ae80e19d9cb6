"""Text from the wire or the host, made safe for a terminal."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

MAX_MARKS = 4  # combining marks in a row: more would be drawn over the lines above and below

# C0, DEL, C1, lone surrogates, line and paragraph separators, tags, bidi controls and other format characters; what
# has no glyph (fillers, joiners, variation selectors, the empty Braille pattern); and the scripts written from right to
# left (Bidi_Class R, AL and AN, UAX #9), which terminals with bidirectional text move past their neighbours, the next
# column included. Private use is not unsafe: fonts have icons there.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u034f\u0590-\u08ff\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f"
    "\u2060-\u206f\u2800\u3164\ud800-\udfff\ufb1d-\ufdff\ufe00-\ufe0f\ufe70-\ufeff\uffa0\ufff9-\ufffb"
    "\U00010800-\U00010fff\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U0001e800-\U0001efff\U000e0000-\U000e0fff]"
)


def _escape(match: re.Match[str]) -> str:
    return _escape_of(match[0])


def _escape_of(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def clean(text: str) -> str:
    """Return the text as one line of glyphs from left to right. Each other character becomes its escape (`\\x1b`)."""
    if text.isascii():
        return text if text.isprintable() else _UNSAFE.sub(_escape, text)
    return _clean_unicode(text)


@lru_cache(maxsize=4096)
def _clean_unicode(text: str) -> str:
    out, marks = [], 0
    for character in _UNSAFE.sub(_escape, text):
        marks = marks + 1 if character >= "\u0300" and unicodedata.category(character) in {"Mn", "Me"} else 0
        out.append(character if marks <= MAX_MARKS else _escape_of(character))
    return "".join(out)


def decoded(data: bytes) -> str:
    """Return bytes as text: UTF-8 if valid, else `\\xNN`. JSON escapes it; for a terminal it must be cleaned."""
    return data.decode("utf-8", "backslashreplace")


def clean_bytes(data: bytes) -> str:
    """Return bytes as text that is safe for a terminal: UTF-8 if valid, else `\\xNN`."""
    return clean(decoded(data))
