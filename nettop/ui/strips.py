"""Converts lines of (text, role) segments to strips of exact width, without wrapping.

All text that is drawn is sanitised here.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from nettop.model.table import Line
from nettop.text.sanitize import clean
from nettop.ui.palette import Palette

ELLIPSIS = "…"
_NUMBER = re.compile(r" (?:rule |handle )?\w+$")
_MIDDLE = 5  # cells from which a text is cut in the middle
COMMENT, _COMMENTED = "   /* ", 15  # before a comment behind a text; cells from which some of it is shown
_WORD = 3  # cells that a word is shown beyond the middle
_STEP = "▸"  # between the chains of a path
_WORDS = 5  # cells of a rule's words for which the path before them is shortened
# A table, the chains that led to the last one, that with the number, and the rule's words.
_RULE_PATH = re.compile(rf"(\S+ \S+ )((?:{_STEP} \S+ )*)((?:{_STEP} )?\S+ (?:(?:rule|handle) \w+|policy))( .*|$)")


def width_of(line: Iterable[tuple[str, str]]) -> int:
    """Return the cells of a line."""
    return sum(cell_len(clean(text)) for text, _ in line)


def fit(text: str, width: int, right: bool = False) -> str:
    """Return text in exactly `width` cells: padded, or cut with `…`. Wide characters are never split."""
    text = clean(text)
    length = len(text) if text.isascii() else cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + ELLIPSIS if width > 0 else ""
    return " " * (width - length) + text if right else text + " " * (width - length)


def fit_middle(text: str, width: int) -> str:
    """Return text in exactly `width` cells, as `fit`, but cut in the middle. A number in brackets at its end stays.

    A word that ends soon after the cut is shown whole. A comment at the end is cut before the text that it is of.
    """
    text = clean(text)
    if cell_len(text) <= width or width < _MIDDLE:
        return fit(text, width)
    rule, mark, comment = text.rpartition(COMMENT)
    if rule and comment.endswith("*/"):
        room = width - cell_len(rule)
        return rule + fit_middle(mark + comment, room) if room >= _COMMENTED else fit_middle(rule, width)
    number = text[text.rfind("[") :] if text.endswith("]") else ""
    tail = len(number) if 0 < len(number) < width - 1 else (width - 1) // 2
    rest = text.find(" ", width - 1 - tail) - (width - 1 - tail)  # of the word that is cut
    tail -= rest if 0 < rest <= _WORD < tail and not number else 0
    end = text[-tail:]
    while cell_len(end) > tail:
        end = end[1:]
    return fit(set_cell_size(text, width - 1 - cell_len(end)) + ELLIPSIS + end, width)


def fit_path(text: str, width: int) -> str:
    """Return text in exactly `width` cells, as `fit`, but shorten the path to a rule or policy at its beginning.

    `inet fw ▸ lan ▸ blocked rule 1 “…”` loses the chains in the middle, then the table: never the last chain or number.
    """
    text = clean(text)
    found = _RULE_PATH.match(text)
    if found is None or cell_len(text) <= width:
        return fit(text, width)
    table, callers, last, words = found.groups()
    between = f"{_STEP} {ELLIPSIS} " if callers else ""
    paths = (table + callers + last, table + between + last, f"{ELLIPSIS} {last}")
    shown = min(cell_len(words), _WORDS)
    path = next((one for one in paths if cell_len(one) + shown <= width), paths[-1])
    if cell_len(path) <= width:
        return fit(path + words, width)
    number = _NUMBER.search(path)[0]  # type: ignore[index]  # as in _RULE_PATH
    return fit(fit_middle(path[: -len(number)], max(0, width - cell_len(number))) + number, width)


def wrapped(line: Line, width: int) -> list[Line]:
    """Return a line on lines of `width` cells: the text of the second segment is wrapped beside the first."""
    first, (text, role), *rest = line
    room = max(10, width - width_of([first]) - 1)
    parts = textwrap.wrap(text, room) or [""]
    made: list[Line] = [
        (first if not at else (" " * width_of([first]), ""), (part, role)) for at, part in enumerate(parts)
    ]
    return [*made[:-1], (*made[-1], *rest)]


def flowed(line: Line, width: int) -> list[Line]:
    """Return a line on as many of up to `width` cells as it needs, broken at blanks."""
    out: list[list[tuple[str, str]]] = [[]]
    for word, role in [(word, role) for text, role in line for word in re.findall(r"\s*\S+|\s+", text)]:
        if out[-1] and width_of(out[-1]) + cell_len(clean(word.rstrip())) > width and word[0] == " ":
            out.append([])
            word = word.lstrip()
        out[-1].append((word, role))
    return [tuple(parts) for parts in out]


def crop(line: Iterable[tuple[str, str]], width: int) -> list[tuple[str, str]]:
    """Return the segments that fit into `width` cells; the last one is cut with `…`."""
    out: list[tuple[str, str]] = []
    left = width
    for raw, role in line:
        text = clean(raw)
        size = cell_len(text)
        if size > left:
            if left > 0:
                out.append((fit(text, left), role))
            break
        out.append((text, role))
        left -= size
    return out


def strip(line: Iterable[tuple[str, str]], width: int, palette: Palette, surface: str = "background") -> Strip:
    """Return a line as a strip, cut or padded to `width` cells."""
    cut = crop(line, width)
    segments = [Segment(text, palette.style(role, surface)) for text, role in cut if text]
    rest = width - width_of(cut)
    if rest > 0:
        segments.append(Segment(" " * rest, palette.style("", surface)))
    return Strip(segments, width)


def blank(width: int, style: Style) -> Strip:
    """Return an empty line."""
    return Strip([Segment(" " * width, style)] if width > 0 else [], width)


def spread(left: Line, right: Line, width: int, gap: int = 2) -> list[tuple[str, str]]:
    """Return `left` and, at the right end, `right`. If they do not fit, `left` is cut."""
    right_width = width_of(right)
    room = width - right_width - (gap if right else 0)
    if room <= 0:
        return crop(right, width)
    cut = crop(left, room)
    return [*cut, (" " * (width - right_width - width_of(cut)), ""), *right]


def keys_line(*parts: str) -> Line:
    """Return one line; every second of its parts is a key: text, key, text, key and so on."""
    return tuple((part, "key" if i % 2 else "dim") for i, part in enumerate(parts) if part)


def plain(lines: Iterable[Line]) -> str:
    """Return lines as text that is safe for a terminal, for the clipboard and for tests."""
    return "\n".join("".join(clean(text) for text, _ in line).rstrip() for line in lines)
