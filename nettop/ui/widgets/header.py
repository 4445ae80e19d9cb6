"""The two bars at the top: facts, and the views with what is filtered by. A click on a word goes where it points."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.message import Message

from nettop.model.table import Line
from nettop.session.status import Status
from nettop.ui.widgets.bar_lines import ONE_LINE, header_lines, tab_spans, tab_titles, tabs_line, use_span
from nettop.ui.widgets.text_panes import Paper


class Header(Paper):
    """The facts."""

    def show(self, status: Status, width: int) -> None:
        """Show these, on as many lines as that takes."""
        self.styles.height = 1 if width >= ONE_LINE else 2
        self.write(header_lines(status, width))

    class UseClicked(Message):
        """The use of the conntrack table."""

    def on_click(self, event: events.Click) -> None:
        y, x, cells = use_span(self.text)
        if event.y == y and x <= event.x < x + cells:
            self.post_message(self.UseClicked())


class Tabs(Paper):
    """The views' names."""

    class Chosen(Message):
        """The tab at this place."""

        def __init__(self, at: int) -> None:
            super().__init__()
            self.at = at

    _spans: Sequence[tuple[int, int, str]] = ()

    def show(self, titles: Sequence[str], current: int, right: Line, width: int) -> None:
        """These views, the current one marked, and what stands at the right end."""
        self._spans = tab_spans(tab_titles(titles, current, right, width), current)
        self.write([tabs_line(titles, current, right, width)])

    def on_click(self, event: events.Click) -> None:
        for at, (x, cells, _) in enumerate(self._spans):
            if x <= event.x < x + cells:
                self.post_message(self.Chosen(at))
