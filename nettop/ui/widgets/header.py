"""The two bars at the top: the header with the session's status, and the tabs. Both can be clicked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.message import Message

from nettop.model.table import Line
from nettop.session.status import Status
from nettop.ui.widgets.bar_lines import ONE_LINE, control_at, header_lines, tab_spans, tab_titles, tabs_line
from nettop.ui.widgets.text_panes import TextPane


class Header(TextPane):
    """The status of the session: table use, rates, losses, mode."""

    def show(self, status: Status, width: int) -> None:
        """Show this status, on one or two lines."""
        self.styles.height = 1 if width >= ONE_LINE else 2
        self.write(header_lines(status, width))

    @dataclass
    class Clicked(Message):
        """A fact was clicked that has a command."""

        command: str

    def on_click(self, event: events.Click) -> None:
        """Report a click on a fact that has a command."""
        if 0 <= event.y < len(self.text) and (command := control_at(self.text[event.y], event.x)):
            self.post_message(self.Clicked(command))


class Tabs(TextPane):
    """The titles of the views."""

    @dataclass
    class Selected(Message):
        """The tab with this index was clicked."""

        at: int

    _spans: Sequence[tuple[int, int, str]] = ()

    def show(self, titles: Sequence[str], current: int, right: Line, width: int) -> None:
        """Show these titles with the current one marked, and `right` at the right end."""
        self._spans = tab_spans(tab_titles(titles, current, right, width), current)
        self.write([tabs_line(titles, current, right, width)])

    def on_click(self, event: events.Click) -> None:
        """Report the tab that was clicked; the filter and the grouping at the right are keys."""
        for at, (x, cells, _) in enumerate(self._spans):
            if x <= event.x < x + cells:
                event.prevent_default()  # the text pane's own click
                self.post_message(self.Selected(at))
