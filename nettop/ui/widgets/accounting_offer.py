"""The offer of accounting: shown once for each namespace, where flows have no bytes and that can be changed."""

from __future__ import annotations

from nettop.session.status import Status
from nettop.ui.widgets.bar_lines import offer_line
from nettop.ui.widgets.text_panes import Paper


class AccountingOffer(Paper):
    """One line; remembers where it was declined."""

    def __init__(self) -> None:
        super().__init__()
        self.display = False
        self._declined: set[str] = set()  # namespaces

    def show(self, status: Status, flows: int) -> None:
        """Show the line where accounting could be switched on, or take it away."""
        may = status.mode in ("LIVE", "DEMO") and not status.read_only
        self.display = may and status.acct == "off" and flows > 0 and status.netns not in self._declined
        if self.display:
            self.write([offer_line(self.app.size.width)])

    def decline(self, netns: str) -> None:
        """Take it away, where it is shown for this namespace, and offer it there no more."""
        self._declined.add(netns)
        self.display = False
