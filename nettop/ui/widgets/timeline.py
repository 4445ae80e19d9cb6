"""New, update and destroy events of the last minute as sparklines: three lines, or all kinds in one. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from nettop.model.view import Line
from nettop.text.units import scaled, sparkline
from nettop.ui.lines import crop

Seconds = Sequence[tuple[int, int, int]]  # new, update, destroy of each second, the newest last

_KINDS = (("NEW", "new"), ("UPDATE", ""), ("DESTROY", "dim"))
_ROOMY = 170  # cells from which a second takes two


def timeline_lines(seconds: Seconds, lines: int, width: int) -> list[Line]:
    """One line or three, each on its own scale, whose top is named: a burst of one kind does not flatten the others."""
    if lines < 1:
        return []
    series = [[float(second[kind]) for second in seconds] for kind in range(3)]
    now = [values[-1] if values else 0.0 for values in series]
    if lines < 3:
        every = [sum(second) for second in zip(*series, strict=True)]
        said = [(f"  {name} {scaled(rate)}/s", role) for (name, role), rate in zip(_KINDS, now, strict=True)]
        bars = ((" events ", "dim"), (_bars(every, width, 60), "number"))
        return [tuple(crop((*bars, *said, (f"   most {scaled(max(every, default=0))}/s", "dim")), width))]
    return [
        tuple(crop(_line(name, role, values, width), width))
        for (name, role), values in zip(_KINDS, series, strict=True)
    ]


def _line(name: str, role: str, values: Sequence[float], width: int) -> Line:
    now, most = (values[-1], max(values)) if values else (0.0, 0.0)
    return (
        (f" {name:<8}", role or "heading"),
        (_bars(values, width, 40), "number"),
        (f" {scaled(now):>6}/s", role),
        (f"   most {scaled(most)}/s", "dim"),
    )


def _bars(values: Sequence[float], width: int, others: int) -> str:
    """The newest seconds that fit beside `others` cells of words; a second is two cells where there is room."""
    cells = 2 if width >= _ROOMY else 1
    kept = list(values)[-max(1, (width - others) // cells) :]
    return "".join(bar * cells for bar in sparkline(kept, max(values, default=0.0)))
