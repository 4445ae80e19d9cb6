"""The sysctls of each namespace that explain what is seen there."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nettop.decode.sysctls import SysctlValues

ACCOUNTING = "net.netfilter.nf_conntrack_acct"


class Sysctls:
    """The latest values of each namespace, by its label."""

    def __init__(self, netns_label: Callable[[int], str]) -> None:
        self._label = netns_label
        self._of: dict[str, Mapping[str, str]] = {}

    def apply(self, item: SysctlValues, netns: int, now_ns: int) -> None:
        """Replace what was known of the namespace with this code."""
        self._of[self._label(netns)] = item.values

    def value(self, netns: str, name: str) -> str | None:
        """Return the value of a sysctl; None if it is unknown."""
        return self._of.get(netns, {}).get(name)

    def accounting(self, netns: str) -> bool | None:
        """Return whether bytes of flows are counted there; None if it is unknown."""
        value = self.value(netns, ACCOUNTING)
        return None if value is None else value != "0"
