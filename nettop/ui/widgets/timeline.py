"""New, update and destroy events of the last minute as sparklines: three lines, or all kinds in one. Pure."""

from __future__ import annotations

import time
from collections.abc import Sequence

from nettop.model.table import Line
from nettop.session.interface import Session
from nettop.text.units import scaled, sparkline
from nettop.ui.strips import crop
from nettop.ui.widgets.snapshot_requests import Post
from nettop.ui.widgets.text_panes import Paper

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


TALL = 28  # lines from which there is room for more than a list
ROOMY = 40  # lines from which a timeline has one for each kind
EVERY = 1.0  # seconds: a timeline is of whole ones


class Band(Paper):
    """Draws what the session says of the last minute."""

    def __init__(self, session: Session, post: Post) -> None:
        super().__init__(surface="background")
        self._session, self._post = session, post
        self._asked = 0.0

    def place(self) -> None:
        """Take the lines that this screen has for it."""
        lines = self._lines()
        self.display = lines > 0
        self.styles.height = lines
        self._asked = 0.0

    def tick(self) -> None:
        """Ask, when it is time to."""
        now = time.monotonic()
        if self.display and now - self._asked >= EVERY:
            self._asked = now
            self._session.timeline(lambda seconds: self._post(self._told, seconds))

    def _lines(self) -> int:
        height = self.app.size.height
        return 0 if height < TALL else 1 if height < ROOMY else 3

    def _told(self, seconds: Seconds) -> None:
        if self.is_attached:
            self.write(timeline_lines(seconds, self._lines(), self.app.size.width))
