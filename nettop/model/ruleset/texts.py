"""The words of rules: nft's by handle, iptables' by position in the chain; which text belongs to which ruleset."""

from __future__ import annotations

from dataclasses import dataclass, field

from nettop.batch import Text
from nettop.decode.nftables.iptables_save import SavedChain, SavedRule, SavedRuleset, parse_save
from nettop.decode.nftables.listing import ChainKey, Listing, parse_listing
from nettop.kinds import TextKind

SAVE_FAMILY = {TextKind.IPTABLES_SAVE: "ip", TextKind.IP6TABLES_SAVE: "ip6"}
LEGACY_FAMILY = {TextKind.IPTABLES_LEGACY_SAVE: "ip", TextKind.IP6TABLES_LEGACY_SAVE: "ip6"}
WANTED = (TextKind.NFT_RULESET, TextKind.IPTABLES_SAVE, TextKind.IP6TABLES_SAVE)
RULESET_KINDS = (*WANTED, *LEGACY_FAMILY)


@dataclass(slots=True)
class Texts:
    """The latest text of each kind. One that failed leaves the one before it in place, marked old by its time."""

    listing: Listing = field(default_factory=Listing)
    saved: dict[str, SavedRuleset] = field(default_factory=dict)  # by family: iptables-nft-save
    legacy: dict[str, SavedRuleset] = field(default_factory=dict)  # by family: iptables-legacy-save
    asked_ns: dict[TextKind, int] = field(default_factory=dict)  # Text.ts_ns of the latest, also of a failed one
    good_ns: dict[TextKind, int] = field(default_factory=dict)  # of the latest that had a body
    errors: dict[TextKind, str] = field(default_factory=dict)
    _aligned: dict[ChainKey, dict[int, SavedRule]] = field(default_factory=dict)

    def take(self, text: Text) -> None:
        """Parse and keep a snapshot."""
        self.asked_ns[text.what] = text.ts_ns
        self.errors[text.what] = text.error
        if text.error:
            return
        self.good_ns[text.what] = text.ts_ns
        if text.what is TextKind.NFT_RULESET:
            self.listing = parse_listing(text.body)
        elif text.what in SAVE_FAMILY:
            self.saved[SAVE_FAMILY[text.what]] = parse_save(text.body)
        elif text.what in LEGACY_FAMILY:
            self.legacy[LEGACY_FAMILY[text.what]] = parse_save(text.body)

    def older_than(self, ts_ns: int) -> bool:
        """Whether a text that was asked for before ts_ns is the latest of its kind, or one was never asked for."""
        return any(self.asked_ns.get(kind, -1) < ts_ns for kind in WANTED)

    def saved_chain(self, key: ChainKey) -> SavedChain | None:
        """What iptables-nft-save says of that chain."""
        saved = self.saved.get(key[0])
        return None if saved is None else saved.chains.get(key[1:])

    def by_handle(self, key: ChainKey, handles: list[int], current: bool) -> dict[int, SavedRule]:
        """iptables' words of a chain's rules by their kernel handles.

        The text has no handles, so they are joined by position, and only when `current`: text and handles are of one
        ruleset. What was joined then stays joined, since a rule that changes gets a new handle.
        """
        chain = self.saved_chain(key)
        if current and chain is not None and len(chain.rules) == len(handles):
            self._aligned[key] = dict(zip(handles, chain.rules, strict=True))
        return self._aligned.get(key, {})

    def forget(self, alive: set[ChainKey]) -> None:
        """Drop what was joined for chains that are gone."""
        self._aligned = {key: rules for key, rules in self._aligned.items() if key in alive}
