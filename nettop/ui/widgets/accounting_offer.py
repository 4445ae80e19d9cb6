"""The offer to switch accounting on: shown where flows have no byte counts and nettop may change that."""

from __future__ import annotations

from nettop.session.status import Status
from nettop.ui.widgets.bar_lines import offer_line
from nettop.ui.widgets.text_panes import TextPane


class AccountingOffer(TextPane):
    """One line. It remembers the namespaces in which it was declined."""

    def __init__(self) -> None:
        super().__init__()
        self.display = False
        self._declined: set[str] = set()  # namespaces

    def show(self, status: Status, flows: int) -> None:
        """Show the line if accounting is off and can be switched on; otherwise hide it."""
        allowed = status.mode in ("LIVE", "DEMO") and not status.read_only
        self.display = allowed and status.acct == "off" and flows > 0 and status.netns not in self._declined
        if self.display:
            self.write([offer_line(self.app.size.width)])

    def decline(self, netns: str) -> None:
        """Hide the line and never show it again for this namespace."""
        self._declined.add(netns)
        self.display = False
