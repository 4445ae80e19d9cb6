"""Text from the wire or the host, made safe for a terminal."""

from __future__ import annotations

import re

# C0, DEL, C1, lone surrogates, line and paragraph separators, zero-width characters, tags, bidi controls and other
# format characters that move or reorder text. Private use is not unsafe: fonts have icons there.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def clean(text: str) -> str:
    """Return the text as one line: each control, bidi or invisible character becomes its escape (`\\x1b`)."""
    if text.isprintable():
        return text
    return _UNSAFE.sub(_escape, text)


def clean_bytes(data: bytes) -> str:
    """Return bytes as text: UTF-8 if valid, else `\\xNN`, with control characters escaped."""
    return clean(data.decode("utf-8", "backslashreplace"))
