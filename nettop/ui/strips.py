"""Lines of (text, role) segments to strips of exactly a width; nothing ever wraps.

All that is drawn passes here, and becomes safe for the terminal.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from nettop.model.table import Line
from nettop.text.sanitize import clean
from nettop.ui.palette import Palette

ELLIPSIS = "…"


def width_of(line: Iterable[tuple[str, str]]) -> int:
    """Cells that a line takes."""
    return sum(cell_len(clean(text)) for text, _ in line)


def fit(text: str, width: int, right: bool = False) -> str:
    """Text in exactly `width` cells: padded, or cut with `…`; wide characters are never halved."""
    text = clean(text)
    length = len(text) if text.isascii() else cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + ELLIPSIS if width > 0 else ""
    return " " * (width - length) + text if right else text + " " * (width - length)


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
    """One line, cut or padded to `width` cells."""
    kept = crop(line, width)
    segments = [Segment(text, palette.style(role, surface)) for text, role in kept if text]
    rest = width - width_of(kept)
    if rest > 0:
        segments.append(Segment(" " * rest, palette.style("", surface)))
    return Strip(segments, width)


def blank(width: int, style: Style) -> Strip:
    """Return an empty line."""
    return Strip([Segment(" " * width, style)] if width > 0 else [], width)


def spread(left: Line, right: Line, width: int, gap: int = 2) -> list[tuple[str, str]]:
    """`left` at the left and `right` at the right end; when both do not fit, the left one is cut."""
    right_width = width_of(right)
    room = width - right_width - (gap if right else 0)
    if room <= 0:
        return crop(right, width)
    kept = crop(left, room)
    return [*kept, (" " * (width - right_width - width_of(kept)), ""), *right]


def plain(lines: Iterable[Line]) -> str:
    """Lines as text, safe for a terminal: for the clipboard and for tests."""
    return "\n".join("".join(clean(text) for text, _ in line).rstrip() for line in lines)
