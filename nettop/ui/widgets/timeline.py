"""Conntrack events of the last minute as sparklines: one line for each kind, or one for all."""

from __future__ import annotations

import time
from collections.abc import Sequence

from nettop.model.table import Line
from nettop.session.base import Session
from nettop.text.units import scaled, sparkline
from nettop.ui.strips import crop
from nettop.ui.widgets.snapshot_requests import Post
from nettop.ui.widgets.text_panes import TextPane

Seconds = Sequence[tuple[int, int, int]]  # counts of new, update and destroy events in each second, the newest last

_KINDS = (("NEW", "new"), ("UPDATE", ""), ("DESTROY", "dim"))
_WIDE = 170  # cells from which a second takes two cells


def timeline_lines(seconds: Seconds, lines: int, width: int) -> list[Line]:
    """Return one line or three. Each has its own scale and shows its maximum: a burst of one kind flattens no other."""
    if lines < 1:
        return []
    series = [[float(second[kind]) for second in seconds] for kind in range(3)]
    now = [values[-1] if values else 0.0 for values in series]
    if lines < 3:
        every = [sum(second) for second in zip(*series, strict=True)]
        rates = [(f"  {name} {scaled(rate)}/s", role) for (name, role), rate in zip(_KINDS, now, strict=True)]
        bars = ((" events ", "dim"), (_bars(every, width, 60), "number"))
        return [tuple(crop((*bars, *rates, (f"   peak {scaled(max(every, default=0))}/s", "dim")), width))]
    return [
        tuple(crop(_line(name, role, values, width), width))
        for (name, role), values in zip(_KINDS, series, strict=True)
    ]


def _line(name: str, role: str, values: Sequence[float], width: int) -> Line:
    now, peak = (values[-1], max(values)) if values else (0.0, 0.0)
    return (
        (f" {name:<8}", role or "heading"),
        (_bars(values, width, 40), "number"),
        (f" {scaled(now):>6}/s", role),
        (f"   peak {scaled(peak)}/s", "dim"),
    )


def _bars(values: Sequence[float], width: int, others: int) -> str:
    """Return the bars of the newest seconds that fit next to `others` cells of text."""
    cells = 2 if width >= _WIDE else 1
    newest = list(values)[-max(1, (width - others) // cells) :]
    return "".join(bar * cells for bar in sparkline(newest, max(values, default=0.0)))


TALL = 28  # lines of the screen from which there is room for a timeline
ROOMY = 40  # lines from which it has one line for each kind
EVERY = 1.0  # seconds between requests: the timeline counts whole seconds


class Timeline(TextPane):
    """Shows the rates of the last minute that the session counts."""

    def __init__(self, session: Session, post: Post) -> None:
        super().__init__(surface="background")
        self._session, self._post = session, post
        self._last_sent = 0.0

    def lay_out(self) -> None:
        """Set the height for this screen: 0 (hidden), 1 or 3 lines."""
        lines = self._lines()
        self.display = lines > 0
        self.styles.height = lines
        self._last_sent = 0.0

    def tick(self) -> None:
        """Request the rates every EVERY seconds while they are shown."""
        now = time.monotonic()
        if self.display and now - self._last_sent >= EVERY:
            self._last_sent = now
            self._session.timeline(lambda seconds: self._post(self._apply, seconds))

    def _lines(self) -> int:
        height = self.app.size.height
        return 0 if height < TALL else 1 if height < ROOMY else 3

    def _apply(self, seconds: Seconds) -> None:
        if self.is_attached:
            self.write(timeline_lines(seconds, self._lines(), self.app.size.width))
