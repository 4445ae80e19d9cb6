"""The texts of rules: nft's by handle, iptables' by position in the chain; and the ruleset that each text is of."""

from __future__ import annotations

from dataclasses import dataclass, field

from nettop.batch import Text
from nettop.decode.nftables.iptables_save import SavedChain, SavedRule, SavedRuleset, parse_save
from nettop.decode.nftables.listing import ChainKey, Listing, parse_listing
from nettop.kinds import TextKind

SAVE_FAMILY = {TextKind.IPTABLES_SAVE: "ip", TextKind.IP6TABLES_SAVE: "ip6"}
LEGACY_FAMILY = {TextKind.IPTABLES_LEGACY_SAVE: "ip", TextKind.IP6TABLES_LEGACY_SAVE: "ip6"}
REQUIRED_KINDS = (TextKind.NFT_RULESET, TextKind.IPTABLES_SAVE, TextKind.IP6TABLES_SAVE)
RULESET_KINDS = (*REQUIRED_KINDS, *LEGACY_FAMILY)


@dataclass(slots=True)
class RulesetTexts:
    """The latest text of each kind. A text with an error does not replace the one before, whose time shows its age."""

    listing: Listing = field(default_factory=Listing)
    saved: dict[str, SavedRuleset] = field(default_factory=dict)  # by family: iptables-nft-save
    legacy: dict[str, SavedRuleset] = field(default_factory=dict)  # by family: iptables-legacy-save
    requested_ns: dict[TextKind, int] = field(default_factory=dict)  # Text.ts_ns of the latest, also of a failed one
    valid_ns: dict[TextKind, int] = field(default_factory=dict)  # of the latest without an error
    errors: dict[TextKind, str] = field(default_factory=dict)
    _aligned: dict[ChainKey, dict[int, SavedRule]] = field(default_factory=dict)

    def apply(self, text: Text) -> None:
        """Parse a text and replace the one before."""
        self.requested_ns[text.what] = text.ts_ns
        self.errors[text.what] = text.error
        if text.error:
            return
        self.valid_ns[text.what] = text.ts_ns
        if text.what is TextKind.NFT_RULESET:
            self.listing = parse_listing(text.body)
        elif text.what in SAVE_FAMILY:
            self.saved[SAVE_FAMILY[text.what]] = parse_save(text.body)
        elif text.what in LEGACY_FAMILY:
            self.legacy[LEGACY_FAMILY[text.what]] = parse_save(text.body)

    def older_than(self, ts_ns: int) -> bool:
        """Return whether the latest text of a kind was requested before ts_ns, or a kind was never requested."""
        return any(self.requested_ns.get(kind, -1) < ts_ns for kind in REQUIRED_KINDS)

    def saved_chain(self, key: ChainKey) -> SavedChain | None:
        """Return the chain as iptables-nft-save printed it; None if it did not."""
        saved = self.saved.get(key[0])
        return None if saved is None else saved.chains.get(key[1:])

    def by_handle(self, key: ChainKey, handles: list[int], current: bool) -> dict[int, SavedRule]:
        """Return iptables' rules of a chain by their kernel handles.

        The text has no handles, so they are joined by position, and only when `current`: text and handles are of one
        ruleset. Joined rules stay joined, since a changed rule gets a new handle.
        """
        chain = self.saved_chain(key)
        if current and chain is not None and len(chain.rules) == len(handles):
            self._aligned[key] = dict(zip(handles, chain.rules, strict=True))
        return self._aligned.get(key, {})

    def forget(self, alive: set[ChainKey]) -> None:
        """Forget the texts of chains that no longer exist."""
        self._aligned = {key: rules for key, rules in self._aligned.items() if key in alive}
