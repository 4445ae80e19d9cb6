"""The rulesets of all namespaces."""

from __future__ import annotations

from collections.abc import Callable

from nettop.batch import DumpMark, Gap, Text
from nettop.decode.nftables.decoder import NftDecoded
from nettop.model.ruleset.ruleset import Ruleset
from nettop.model.ruleset.sets.contents import SetsDecoded


class Rulesets:
    """The rulesets by namespace. `shown` is that of the namespace shown; it exists before the first item."""

    def __init__(self, shown: Ruleset, netns_label: Callable[[int], str]) -> None:
        self._of, self._shown, self._label = {shown.netns: shown}, shown, netns_label

    def show(self, netns: str) -> None:
        """Set the namespace of the ruleset shown (before the first item)."""
        self._shown.netns = netns
        self._of = {netns: self._shown}

    def of(self, netns: str) -> Ruleset | None:
        """Return the ruleset of a namespace by its label; None: nothing of it was read."""
        return self._of.get(netns)

    def apply(self, item: NftDecoded | SetsDecoded | DumpMark | Text | Gap, netns: int, now_ns: int) -> None:
        """Apply one item of the namespace with this code."""
        label = self._label(netns)
        if label not in self._of:
            self._of[label] = Ruleset(label)
        self._of[label].apply(item, now_ns)
