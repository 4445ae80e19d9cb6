"""The texts of rules, by the handles of their tables and their own, and the ruleset that each text is of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from nettop.batch import Text
from nettop.decode.nftables.iptables_save import SavedRule, SavedRuleset, parse_save
from nettop.decode.nftables.listing import ChainKey, Flowtable, ListedRule, Listing, parse_listing
from nettop.decode.nftables.objects import NftChain, NftTable
from nettop.decode.nftables.report import parse_report
from nettop.decode.nftables.rules import NftRule
from nettop.kinds import TextKind
from nettop.model.ruleset import hooks

SAVE_FAMILY = {
    TextKind.IPTABLES_SAVE: "ip",
    TextKind.IP6TABLES_SAVE: "ip6",
    TextKind.ARPTABLES_SAVE: "arp",
    TextKind.EBTABLES_SAVE: "bridge",
}
LEGACY_FAMILY = {
    TextKind.IPTABLES_LEGACY_SAVE: "ip",
    TextKind.IP6TABLES_LEGACY_SAVE: "ip6",
    TextKind.ARPTABLES_LEGACY_SAVE: "arp",
}
IPSET_WORDS = b"-set "  # --match-set, --add-set, …
REQUIRED_KINDS = (TextKind.NFT_RULESET, TextKind.IPTABLES_SAVE, TextKind.IP6TABLES_SAVE)
RULESET_KINDS = (TextKind.NFT_RULESET, *SAVE_FAMILY, *LEGACY_FAMILY)
_LEGACY_KIND = {family: kind for kind, family in LEGACY_FAMILY.items()}
_SAVE_KIND = {family: kind for kind, family in SAVE_FAMILY.items()}

TableKey = tuple[str, str]  # family, name
W = TypeVar("W")
RuleKey = tuple[ChainKey, int | None, int]  # chain, handle of its table, handle of the rule


@dataclass(slots=True)
class _Words(Generic[W]):
    """The words of the latest text, and those of older ones: a handle always names the same rule."""

    latest: dict[RuleKey, W] = field(default_factory=dict)
    older: dict[RuleKey, W] = field(default_factory=dict)

    def renew(self) -> None:
        """Begin a new text."""
        self.older.update(self.latest)
        self.latest = {}

    def get(self, chain: ChainKey, table: int | None, handle: int) -> W | None:
        """Return the words of a rule."""
        key = (chain, table, handle)
        return self.latest.get(key) or self.older.get(key)

    def forget(self, alive: Callable[[], set[RuleKey]], limit: int) -> None:
        """Forget older words of rules that no longer exist, once there are more than `limit`."""
        if len(self.older) > limit:
            keys = alive()
            self.older = {key: rule for key, rule in self.older.items() if key in keys}


@dataclass(slots=True)
class RulesetTexts:
    """The latest text of each kind. A text with an error does not replace the one before, whose time shows its age."""

    saved: dict[str, SavedRuleset] = field(default_factory=dict)  # by family: iptables-nft-save and its kin
    legacy: dict[str, SavedRuleset] = field(default_factory=dict)  # by family: iptables-legacy-save
    requested_ns: dict[TextKind, int] = field(default_factory=dict)  # Text.ts_ns of the latest, also of a failed one
    valid_ns: dict[TextKind, int] = field(default_factory=dict)  # of the latest without an error
    errors: dict[TextKind, str] = field(default_factory=dict)
    changed_ns: dict[TableKey | None, int] = field(default_factory=dict)  # of rules, by table; None: perhaps of all
    _parts_ns: dict[TableKey, int] = field(default_factory=dict)  # valid_ns of listings of one table
    name_ipsets: bool = False  # a rule of iptables uses an IP set
    _versions: Counter[ChainKey | None] = field(default_factory=Counter)  # see version_of; None: that of all chains
    # The listing of nft (None), and of tables that were listed again after it.
    _bodies: dict[TableKey | None, bytes] = field(default_factory=dict)
    _unparsed: dict[TableKey | None, bytes] = field(default_factory=dict)
    _strings: frozenset[str] = frozenset()  # that they were parsed with
    legacy_changes: int = 0  # texts of iptables-legacy with other rules than the one before
    # By family: when the rules before the latest change were last read, and when those after it were first read.
    _legacy_changed_ns: dict[str, tuple[int, int]] = field(default_factory=dict)
    _listing: Listing = field(default_factory=Listing)
    _listed: _Words[ListedRule] = field(default_factory=_Words)
    _printed: dict[str, _Words[SavedRule]] = field(default_factory=lambda: {family: _Words() for family in _SAVE_KIND})

    def apply(self, text: Text) -> None:
        """Parse a text and replace the one before."""
        self.errors[text.what] = text.error
        part = parse_report(text.body)[0].part if text.what is TextKind.NFT_RULESET else None
        if part is None:
            self.requested_ns[text.what] = text.ts_ns
        if text.error:
            return
        self.name_ipsets = self.name_ipsets or IPSET_WORDS in text.body
        before_ns = self.valid_ns.get(text.what, 0)
        if part is None:
            self.valid_ns[text.what] = text.ts_ns
        if text.what is TextKind.NFT_RULESET:
            self._list(part, text)
        elif text.what in SAVE_FAMILY:
            self._save(SAVE_FAMILY[text.what], parse_save(text.body))
        elif text.what in LEGACY_FAMILY:
            self._save_legacy(LEGACY_FAMILY[text.what], parse_save(text.body), before_ns, text.ts_ns)
        behind = {table for _, table in self._behind(self.valid_ns)}
        self.changed_ns = {table: ns for table, ns in self.changed_ns.items() if table is None or table in behind}

    def _save_legacy(self, family: str, saved: SavedRuleset, before_ns: int, ts_ns: int) -> None:
        before, self.legacy[family] = self.legacy.get(family, SavedRuleset()), saved
        if _without_counters(before) != _without_counters(saved):
            self.legacy_changes += 1
            self._legacy_changed_ns[family] = before_ns, ts_ns

    def legacy_at(self, family: str, at_ns: int) -> bool | None:
        """Return whether the rules of iptables-legacy are those of this time; None: they were not read since."""
        kind = _LEGACY_KIND[family]
        if self.requested_ns.get(kind, -1) < at_ns:
            return None
        first_ns, last_ns = self._legacy_changed_ns.get(family, (0, 0))
        return not 0 < first_ns < at_ns < last_ns

    def _list(self, part: TableKey | None, text: Text) -> None:
        if part is None:
            self._bodies, self._unparsed, self._parts_ns = {}, {}, {}
        else:
            self._parts_ns[part] = text.ts_ns
        for bodies in (self._bodies, self._unparsed):
            bodies.pop(part, None)  # the latest is parsed last
            bodies[part] = text.body

    def change(self, ts_ns: int, tables: Collection[TableKey] | None) -> None:
        """Note that rules of these tables may have new words since then, or (None) those of any table."""
        for table in (None,) if tables is None else tables:
            self.changed_ns[table] = max(ts_ns, self.changed_ns.get(table, 0))

    def wanted(self) -> Iterator[tuple[TextKind, TableKey | None]]:
        """Yield the texts to request: kind, and the table that has changed; None: all of the text.

        Not one with a later ts_ns (the start of the tool), even with an error: a missing tool is not requested again.
        """
        return self._behind(self.requested_ns)

    def is_old(self) -> bool:
        """Return whether a text that is shown may be older than the ruleset."""
        return any(kind in self.valid_ns for kind, _ in self._behind(self.valid_ns))

    def _behind(self, times_ns: Mapping[TextKind, int]) -> Iterator[tuple[TextKind, TableKey | None]]:
        for kind in REQUIRED_KINDS:
            if times_ns.get(kind, -1) < self.changed_ns.get(None, 0):
                yield kind, None
        for table, ts_ns in self.changed_ns.items():
            for kind in _kinds_of(table) if table is not None else ():
                if max(times_ns.get(kind, -1), self._part_ns(kind, table)) < ts_ns:
                    yield kind, table

    def _part_ns(self, kind: TextKind, table: TableKey | None) -> int:
        return self._parts_ns.get(table, -1) if table is not None and kind is TextKind.NFT_RULESET else -1

    def version_of(self, chain: ChainKey) -> tuple[int, int, bool]:
        """Return a value that changes whenever a rule of the chain may have other words."""
        return self._versions[None], self._versions[chain], self.is_awaited(chain[0])

    def _save(self, family: str, saved: SavedRuleset) -> None:
        before, self.saved[family] = self.saved.get(family, SavedRuleset()), saved
        words = self._printed[family]
        words.renew()
        for (table, name), (table_handle, handles) in (saved.handles or {}).items():
            chain = saved.chains.get((table, name))
            if chain is not None and len(chain.rules) == len(handles):
                key = (family, table, name)
                old, old_handles = before.chains.get((table, name)), (before.handles or {}).get((table, name))
                self._versions[key] += old_handles != (table_handle, handles) or old is None or old.rules != chain.rules
                words.latest.update(((key, table_handle, h), r) for h, r in zip(handles, chain.rules, strict=True))

    def parse(self, strings: Collection[str]) -> None:
        """Parse the listing if it is new, or was parsed with other strings. `strings`: those with a newline."""
        if self._strings != frozenset(strings):
            self._strings, self._unparsed, self._listed = frozenset(strings), dict(self._bodies), _Words()
            self._versions[None] += 1
        for part, body in self._unparsed.items():
            self._parse(part, body)
        self._unparsed = {}

    def _parse(self, part: TableKey | None, body: bytes) -> None:
        before, self._listing = self._listing, parse_listing(body, self._strings)
        self._listed.renew()
        for chain, one in self._listing.chains.items():
            self._versions[chain] += before.chains.get(chain) != one
            self._listed.latest.update(((chain, one.table, handle), rule) for handle, rule in one.rules.items())
        if part is not None:
            self._listing.chains.update((key, one) for key, one in before.chains.items() if key[:2] != part)
            self._listing.flowtables += [one for one in before.flowtables if (one.family, one.table) != part]

    @property
    def flowtables(self) -> list[Flowtable]:
        """The flowtables in nft's words."""
        return self._listing.flowtables

    def failures(self) -> list[str]:
        """Return what tools could not print, each in one line."""
        parts = [self._listing.report.failures, *(saved.failures for saved in self.saved.values())]
        return [*filter(None, self.errors.values()), *(failure for part in parts for failure in part)]

    def legacy_errors(self) -> list[tuple[str, str]]:
        """Return the legacy families whose rules could not be read, and why."""
        return [
            (kind.value.removesuffix("-save"), self.errors[kind]) for kind in LEGACY_FAMILY if self.errors.get(kind)
        ]

    def is_stale(self, table: TableKey, by_nft: bool) -> bool:
        """Return whether the words of nft, or of iptables and its kin, are older than the last change of a table."""
        kind = TextKind.NFT_RULESET if by_nft else _SAVE_KIND[table[0]]
        changed_ns = max(self.changed_ns.get(None, 0), self.changed_ns.get(table, 0))
        return max(self.valid_ns.get(kind, -1), self._part_ns(kind, table)) < changed_ns

    def is_awaited(self, family: str) -> bool:
        """Return True until the words of iptables and its kin for a family were requested once."""
        return family in _SAVE_KIND and _SAVE_KIND[family] not in self.requested_ns

    def listed(self, rule: NftRule, table: int | None) -> ListedRule | None:
        """Return the rule in nft's words; None if they are not known, or of another rule by the comment in them."""
        chain = (rule.family, rule.table, rule.chain)
        found = self._listed.get(chain, table, rule.handle) or self._listed.get(chain, None, rule.handle)
        return found if found is not None and is_of(found, rule) else None

    def printed(self, rule: NftRule, table: int | None) -> SavedRule | None:
        """Return the rule in the words of iptables and its kin; None if they are not known, or have another verdict."""
        found = self._printed[rule.family].get((rule.family, rule.table, rule.chain), table, rule.handle)
        return found if found is not None and _has_verdict(found, rule) else None

    def align(self, chain: ChainKey, table: int | None, handles: list[int]) -> None:
        """Join a text without handles (of an older recording) by position. It must be of the ruleset of the handles."""
        saved = self.saved.get(chain[0])
        found = saved.chains.get(chain[1:]) if saved is not None and saved.handles is None else None
        if found is not None and len(found.rules) == len(handles):
            self._versions[chain] += 1
            words = self._printed[chain[0]].latest
            words.update(((chain, table, h), rule) for h, rule in zip(handles, found.rules, strict=True))

    def forget(self, rules: Collection[NftRule], tables: Mapping[tuple[str, str], int | None]) -> None:
        """Forget the words of rules that no longer exist."""

        def alive() -> set[RuleKey]:
            chains = [((r.family, r.table, r.chain), tables.get((r.family, r.table)), r.handle) for r in rules]
            return {*chains, *((chain, None, handle) for chain, _, handle in chains)}

        self._listed.forget(alive, 2 * len(rules))
        for words in self._printed.values():
            words.forget(alive, 2 * len(rules))


def _kinds_of(table: TableKey) -> tuple[TextKind, ...]:
    """Return the texts with words of the rules of a table."""
    family, name = table
    by_xtables = name in hooks.IPTABLES_NFT_TABLES.get(family, {})
    return (TextKind.NFT_RULESET, _SAVE_KIND[family]) if by_xtables else (TextKind.NFT_RULESET,)


def _without_counters(saved: SavedRuleset) -> list[tuple[str, str, str | None, list[str]]]:
    chains = saved.chains.values()
    return [(chain.table, chain.name, chain.policy, [rule.text for rule in chain.rules]) for chain in chains]


def _has_verdict(saved: SavedRule, rule: NftRule) -> bool:
    """Return whether the words end in the verdict of the rule, where it is one that all tools name alike."""
    verdict = rule.verdicts[-1] if rule.verdicts else ""
    if verdict in ("jump", "goto"):
        return saved.target in rule.targets
    return verdict not in ("accept", "drop", "return") or (saved.target or "").lower() == verdict


def is_of(listed: ListedRule, rule: NftRule) -> bool:
    """Return whether the words end in the comment that the rule has."""
    own = rule.comment if "comment" not in rule.extensions else None  # nft does not print that of an xt match
    return own is None or listed.text.endswith(f'comment "{own}"')


Part = NftTable | NftChain | NftRule


def with_new_parts(before: Collection[Part], after: Collection[Part]) -> set[TableKey]:
    """Return the tables (family, name) that are new, or have chains or rules that were not there before."""
    known = set(map(_identity, before))
    return {
        (part.family, part.name if isinstance(part, NftTable) else part.table)
        for part in after
        if _identity(part) not in known
    }


def _identity(part: Part) -> tuple[object, ...]:
    """Return what names a part as it is: for a rule its handle, which always names the same one."""
    return (part.family, part.table, part.handle) if isinstance(part, NftRule) else part.definition
