"""The offer of accounting: said once for each namespace, where flows have no bytes and that can be changed."""

from __future__ import annotations

from nettop.session.status import Status
from nettop.ui.widgets.bar_lines import offer_line
from nettop.ui.widgets.text_panes import Paper


class Offers:
    """Remembers where the offer was put off."""

    def __init__(self) -> None:
        self._put_off: set[str] = set()

    def wanted(self, status: Status, flows: int) -> bool:
        """Whether the line stands on the screen now."""
        may = status.mode in ("LIVE", "DEMO") and not status.read_only
        return may and status.acct == "off" and flows > 0 and status.netns not in self._put_off

    def write(self, line: Paper, status: Status, flows: int) -> None:
        """Show the line, or take it away."""
        wanted = self.wanted(status, flows)
        if line.display != wanted:
            line.display = wanted
        if wanted:
            line.write([offer_line(line.app.size.width)])

    def put_off(self, netns: str) -> None:
        """Not again for this namespace."""
        self._put_off.add(netns)
