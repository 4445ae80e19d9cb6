"""Rows as a table with a header, for a person at a terminal. A pipe gets lines whose fields have names instead."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice

from nettop.model.table import Column, Row
from nettop.text.units import ABSENT
from nettop.text.width import cells_of

_GAP = "  "
_MIN_LAST = 20  # cells to which the last column is cut before others are left out
_PART = 8192  # rows whose widths are known before the first is printed
_NOTHING = frozenset(("", ABSENT, "0", "0x0"))


def on_terminal() -> bool:
    """Return whether stdout is a terminal."""
    return sys.stdout.isatty()


def terminal_width() -> int:
    """Return the cells of a line of the terminal."""
    return shutil.get_terminal_size().columns


def aligned(
    columns: Sequence[Column], rows: Iterable[Row], width: int, optional: Collection[str] = ()
) -> Iterator[str]:
    """Yield the titles and the rows in columns as wide as their texts.

    A column of `optional` in which no row has a value is left out. If `width` cells are not enough the last column is
    cut, then columns of the highest rank are left out; those of rank 0 stay.
    """
    chosen: list[int] = []
    widths: list[int] = []
    room = width
    source = iter(rows)
    while part := list(islice(source, _PART)):
        texts = list(zip(*(row.cells for row in part), strict=True))
        if not chosen:
            chosen = [at for at, c in enumerate(columns) if c.key not in optional or not _NOTHING.issuperset(texts[at])]
            widths = [max(map(cells_of, (column.title, *text))) for column, text in zip(columns, texts, strict=True)]
            chosen = _fitting(columns, chosen, widths, width)
            room = max(_MIN_LAST, width - sum(widths[at] + len(_GAP) for at in chosen[:-1]))
            yield _line(columns, chosen, widths, [column.title for column in columns], room)
        widths = [max(known, *map(cells_of, text)) for known, text in zip(widths, texts, strict=True)]
        yield from (_line(columns, chosen, widths, row.cells, room) for row in part)


def _fitting(columns: Sequence[Column], chosen: list[int], widths: Sequence[int], width: int) -> list[int]:
    while sum(min(widths[at], _MIN_LAST if at == chosen[-1] else width) + len(_GAP) for at in chosen) > width:
        worst = max(chosen, key=lambda at: (columns[at].rank, at))
        if not columns[worst].rank:
            break
        chosen = [at for at in chosen if at != worst]
    return chosen


def _line(
    columns: Sequence[Column], chosen: Sequence[int], widths: Sequence[int], texts: Sequence[str], room: int
) -> str:
    """Return one line. A text in the last column has `room` cells, unless it is a number or has rank 0."""
    padded = []
    for at in chosen:
        text = _cut(texts[at], room) if at == chosen[-1] and columns[at].rank and not columns[at].right else texts[at]
        blanks = " " * (widths[at] - cells_of(text))
        padded.append(blanks + text if columns[at].right else text + blanks)
    return _GAP.join(padded).rstrip()


def _cut(text: str, room: int) -> str:
    while cells_of(text) > room:
        text = text[: min(room, len(text)) - 2] + "…"
    return text
