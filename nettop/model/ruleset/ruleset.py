"""The ruleset of one namespace with its counters: nft, iptables-nft and iptables-legacy in one picture."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from nettop.batch import Array, DumpMark, Gap, Text
from nettop.decode.nftables.commits import changed_tables, reworded
from nettop.decode.nftables.decoder import NftDecoded, RuleBlock
from nettop.decode.nftables.objects import Generation, NftTable
from nettop.decode.nftables.rules import NftRule
from nettop.kinds import TextKind
from nettop.model.ruleset.changes.log import ChangeLog
from nettop.model.ruleset.counters import Counts
from nettop.model.ruleset.dumps import COUNTED, DUMPS, RULES, DumpTimes, PendingDump, kind_of, with_table
from nettop.model.ruleset.merge import RuleIdents, join
from nettop.model.ruleset.opened_sets import OpenedSets
from nettop.model.ruleset.order import prove
from nettop.model.ruleset.picture import NFT, ChainView, Picture, Raw, RuleView
from nettop.model.ruleset.rule_tree import RuleRow, RuleTrees
from nettop.model.ruleset.rule_versions import RuleVersions
from nettop.model.ruleset.sets.contents import SET_DUMPS, SetsDecoded, VerdictBranch
from nettop.model.ruleset.texts import LEGACY_FAMILY, RULESET_KINDS, RulesetTexts, TableKey, with_new_parts

_MAX_AUTHORS = 20  # of the commits that are read together


class Ruleset:
    """Chains, rules and counters from batches of "nft" and "nft-events", their DumpMarks and Text items.

    Used on the model thread only. `now_ns` and the times of items are ns since the epoch.
    """

    def __init__(self, netns: str = "") -> None:
        self.netns = netns
        self.raw, self.texts = Raw(), RulesetTexts()
        self._picture = Picture()
        self._counts = Counts.of(0)
        self.version = 0  # grows whenever a table may look different
        self.rules_version = 0  # the same for a table of rules, which does not show each change that is announced
        self.generation: Generation | None = None  # the latest announced: id, process, time
        self.dumps = DumpTimes()
        self.changes = ChangeLog()
        self.opened = OpenedSets()
        self.on_screen: list[tuple[str, str, str, int]] = []  # rules of nf_tables shown last: chain and handle
        self._authors: dict[str, None] = {}  # of the commits since the picture that the log knows
        self._idents = RuleIdents()
        self._pending: PendingDump | None = None
        self._blocks: list[RuleBlock] = []
        self._raw_cells: Array = np.empty(0, np.int64)
        self._confirmed = False  # the handles of tables are those at the time of the rules
        self._dirty = False  # the parts of the picture have changed
        self._joined_current = False
        self._layout_version = 0
        self._join_pending = False  # dumps or texts have come since the parts were joined
        self._uncounted: dict[str | TextKind, int] = {}  # those whose counters are not applied yet, with their time
        self._versions, self._versions_of = RuleVersions(), -1  # the second: the layout that they are of
        self._trees = RuleTrees()

    @property
    def picture(self) -> Picture:
        """All chains and rules."""
        self._join()
        return self._picture

    @property
    def counts(self) -> Counts:
        """The counters by cell of the picture."""
        self._join()
        return self._counts

    @property
    def layout_version(self) -> int:
        """A number that grows when chains, rules or texts change."""
        self._join()
        return self._layout_version

    @property
    def joined_version(self) -> int:
        """The layout version of the last join: it only reads, so any thread may ask."""
        return self._layout_version

    def wants_text(self) -> bool:
        """Return whether a text of the current ruleset must be requested."""
        return any(self.texts.wanted())

    def rule(
        self, family: str, table: str, handle: int | None, at_ns: int = 1 << 63, verdict: str = ""
    ) -> tuple[ChainView, RuleView] | None:
        """Return the rule with this handle when a packet met it with this verdict, and its chain; None: not known."""
        if self._versions_of != self.layout_version:
            self._versions_of = self._layout_version
            self._versions.update(self._picture, self.dumps.changed_ns)
        return None if handle is None else self._versions.find((family, table, handle), at_ns, verdict)

    def prove_order(self, chains: Sequence[ChainView], ts_ns: int) -> None:
        """Note that a packet met these base chains of one hook in this order, at this time."""
        if ts_ns > self.dumps.changed_ns and prove(self.picture, chains):
            self._layout_version, self.version = self._layout_version + 1, self.version + 1  # other marks

    def nft_words(self, rule: RuleView) -> str | None:
        """Return a rule as nft writes it; None: it is not of the kernel's nf_tables, or its words are not known."""
        raw = rule.raw
        listed = raw and self.texts.listed(raw, self.raw.handles.get((raw.family, raw.table)))
        return listed.text if listed else None

    def tree(self, chain: int) -> list[RuleRow]:
        """Return the rows of a chain (an index in the picture) with those of the user chains below it."""
        return self._trees.of(self.picture, chain)

    def branches(self, raw: NftRule | None) -> Iterator[tuple[str, tuple[VerdictBranch, ...]]]:
        """Yield the named verdict maps that a rule of the kernel uses, with their elements."""
        if raw is not None and (known := self.raw.sets.branches):
            yield from ((one[2], known[one]) for name in raw.sets if (one := (raw.family, raw.table, name)) in known)

    def legacy_rule(self, family: str, table: str, chain: str, number: int) -> tuple[ChainView, RuleView | None] | None:
        """Return a chain of iptables-legacy and its rule of this number (from 1), None if it has no such rule.

        None if the chain is not known (yet).
        """
        view = self.picture.chain(family, table, chain, legacy=True)
        if view is None:
            return None
        return view, self.picture.rules[view.first + number - 1] if 1 <= number <= view.count else None

    def tables_without_chains(self) -> list[NftTable]:
        """Return the tables that have no chain, which no row shows."""
        shown = {(chain.family, chain.table) for chain in self.picture.chains if chain.handle is not None}
        return [table for table in self.raw.tables if (table.family, table.name) not in shown]

    def has_legacy(self) -> bool:
        """Return whether there are legacy tables: their counters come only with a new text, so it is polled."""
        return any(saved.chains for saved in self.texts.legacy.values())

    @property
    def is_known(self) -> bool:
        """True once there was a dump or a text."""
        return bool(self.dumps.read_ns or self.texts.requested_ns)

    @property
    def is_dumped(self) -> bool:
        """True once the kernel's tables, chains and rules came."""
        return self.dumps.read_ns.keys() >= set(DUMPS)

    @property
    def is_read(self) -> bool:
        """True once all dumps and texts came, or their errors."""
        return self.is_dumped and self.texts.requested_ns.keys() >= set(RULESET_KINDS)

    @property
    def is_whole(self) -> bool:
        """True if all dumps and texts came, and each rule has words."""
        if not self.is_read or not self._confirmed or self.raw.interrupted:
            return False
        return not self.picture.missing_texts and -1 not in self.picture.raw_cells

    @property
    def is_settled(self) -> bool:
        """True if all dumps and texts came, and none is older than the latest change of what it shows."""
        return self.is_read and not self.wants_text() and not self.dumps.are_old()

    def stale(self) -> bool:
        """Return whether the texts shown may be older than the ruleset."""
        return (self.picture.missing_texts > 0 and self.wants_text()) or self.texts.is_old()

    def is_stale(self, rule: RuleView) -> bool:
        """Return whether the words of a rule are of a text that is older than the ruleset."""
        raw, by_nft = rule.raw, rule.backend == NFT
        return raw is not None and rule.text is not None and self.texts.is_stale((raw.family, raw.table), by_nft)

    def apply(self, item: NftDecoded | SetsDecoded | DumpMark | Text | Gap, now_ns: int) -> None:
        """Apply one item. A Gap (of an nft stream) may hide a change: everything is requested again."""
        if isinstance(item, SetsDecoded) or (isinstance(item, DumpMark) and item.what in SET_DUMPS):
            if not self.raw.sets.apply(item):
                return
            self._dirty = self._join_pending = True
        elif isinstance(item, Text):
            self._text(item)
        elif isinstance(item, DumpMark):
            before = self.layout_version if self.is_read else None
            self._mark(item)
            if item.begin or (kind_of(item) not in COUNTED and before is not None and before == self.layout_version):
                return  # it looks as before
        elif isinstance(item, Gap):
            self._changed(item.to_ns, None, None)
        else:
            self._decoded(item)
            return
        if self.is_read:
            picture = self.picture  # joins it
            self.changes.find_words(picture)
            if self._joined_current and not self.dumps.are_old():
                self.changes.add(picture, self._authors, self.dumps.changed_ns, now_ns)
                self._authors = {}
        self.version += 1
        self.rules_version += 1

    def _decoded(self, item: NftDecoded) -> None:
        if self._pending is not None and self._pending.stream == item.stream:
            self._pending.parts.append(item)
        self.raw.sets.add(item.sets)
        if any([self._generation(generation) for generation in item.generations]):
            ts_ns = max(one.ts_ns for one in item.generations)
            self._changed(ts_ns, reworded(item.commits), changed_tables(item.commits))
        for commit in item.commits if self.is_read else ():
            self.changes.announce(commit, self._picture, self.raw.sets.listed)

    def _changed(self, ts_ns: int, reworded: Collection[TableKey] | None, tables: Collection[TableKey] | None) -> None:
        """Note a change of the words of rules in some tables, and of the rules in some; None: perhaps of all."""
        self.texts.change(ts_ns, reworded)
        self.dumps.change(ts_ns, tables)

    def _generation(self, generation: Generation) -> bool:
        """Note a generation of the ruleset. Return whether it is a new one."""
        known = self.generation
        if generation.event and generation.process and len(self._authors) < _MAX_AUTHORS:
            self._authors[generation.author] = None
        changed = generation.event or (known is not None and known.id != generation.id)
        if changed or known is None:
            self.generation, self.version = generation, self.version + 1
        return changed

    def _mark(self, mark: DumpMark) -> None:
        dump = PendingDump(mark) if mark.begin else self._pending
        if dump is None or dump.what != mark.what or dump.kind not in DUMPS:
            return
        self._pending = dump if mark.begin else None
        if mark.begin:
            self._join_counted(dump.kind)
        elif dump.is_of_screen:
            self._count_found(dump, mark.ts_ns)
        elif self.dumps.is_usable(dump, mark, len(self.raw.rules) if dump.table is None else dump.size):
            self._take(dump, mark)
        elif mark.interrupted and dump.kind == RULES:
            self._count_found(dump, mark.ts_ns)

    def _take(self, dump: PendingDump, mark: DumpMark) -> None:
        before, parts = self.dumps.read_ns.get(dump.kind), self.raw.parts
        interrupted = self.dumps.read(dump, mark.interrupted)
        self._dirty |= interrupted != self.raw.interrupted
        self.raw.interrupted = interrupted
        if self._store(dump) and before is not None and self.dumps.changed_ns <= before:  # it was not announced (yet)
            known = () if dump.kind == RULES else None
            self._changed(dump.begun_ns, with_new_parts(parts, self.raw.parts), known)
        self._join_pending = True
        if dump.table is not None:
            self._count_found(dump, mark.ts_ns)  # the others are counted already
        elif dump.kind in COUNTED:
            self._uncounted[dump.kind] = mark.ts_ns

    def _store(self, pending: PendingDump) -> bool:
        """Store a complete dump; return whether the ruleset differs from the one before."""
        parts = pending.parts
        if pending.kind == RULES:
            of, blocks = pending.table, pending.blocks
            differs = self._store_rules(blocks if of is None else with_table(self._blocks, of, blocks))
            self._store_handles(differs)
            return differs
        if pending.what == "nft-tables":
            tables = [table for part in parts for table in part.tables]
            differs, self.raw.tables = [t.definition for t in tables] != [t.definition for t in self.raw.tables], tables
            self._confirm_handles()
        elif pending.what == "nft-chains":
            chains = [chain for part in parts for chain in part.chains]
            differs = [c.definition for c in chains] != [c.definition for c in self.raw.chains]
            self.raw.chains = chains
        else:
            self.raw.objects = [one for part in parts for one in part.objects]
            return False
        self._dirty |= differs
        return differs

    def _store_handles(self, differs: bool) -> None:
        """Take the tables known so far for those of the rules just dumped; the next dump of tables confirms it."""
        handles: dict[tuple[str, str], int | None] = {(one.family, one.name): one.handle for one in self.raw.tables}
        self._confirmed = self._confirmed and not differs and handles == self.raw.handles
        self._dirty |= handles != self.raw.handles
        self.raw.handles = handles

    def _confirm_handles(self) -> None:
        """Forget the handles of tables that were deleted, or made again, since the rules were dumped."""
        now = {(one.family, one.name): one.handle for one in self.raw.tables}
        handles = {table: handle if now.get(table) == handle else None for table, handle in self.raw.handles.items()}
        self._dirty |= handles != self.raw.handles
        self.raw.handles, self._confirmed = handles, RULES in self.dumps.read_ns

    def _store_rules(self, blocks: list[RuleBlock]) -> bool:
        same = len(blocks) == len(self._blocks) and all(
            new.rules is old.rules for new, old in zip(blocks, self._blocks, strict=True)
        )
        self._blocks = blocks
        if same:
            return False
        rules = [rule for block in blocks for rule in block.rules]
        if rules == self.raw.rules:
            return False
        self.raw.datagrams, self.raw.rules = [block.rules for block in blocks], rules
        self._dirty = True
        return True

    def _text(self, text: Text) -> None:
        if text.what not in RULESET_KINDS:
            return
        changes = self.texts.legacy_changes
        self._join_counted(text.what)
        self.texts.apply(text)
        if text.what not in LEGACY_FAMILY or changes != self.texts.legacy_changes:
            self._dirty = True
        self._join_pending = True
        if text.what in LEGACY_FAMILY and not text.error:
            self._uncounted[text.what] = text.ts_ns

    def _join_counted(self, what: str | TextKind) -> None:
        """Join before another dump or text replaces one whose counters are not applied: rates need both."""
        if what in self._uncounted:
            self._join()

    def _join(self) -> None:
        """Join the parts, if others have come, and apply their counters."""
        if self._join_pending:
            self._join_pending = False
            self._rejoin()
        uncounted, self._uncounted = self._uncounted, {}
        for what, ts_ns in uncounted.items():
            if isinstance(what, TextKind):
                self._count_legacy(what, ts_ns)
            elif what == RULES:
                self._count_rules(ts_ns)
            else:
                self._count_policies(ts_ns)
                self._count_rules(self.dumps.read_ns.get(RULES, ts_ns), new_only=True)

    def _rejoin(self) -> None:
        """Join again if the parts of the picture have changed, or texts and dumps now belong together."""
        current = not self.dumps.unread() and not self.wants_text()
        if not self._dirty and (self._joined_current or not current):
            return
        before, self._picture = self._picture, join(self.raw, self.texts, self._idents, current)
        self._picture.proven = before.proven if before.hooked == self._picture.hooked else set()
        self._counts = self._counts.reordered(self._picture.origin(before))
        self._raw_cells = np.array(self._picture.raw_cells, dtype=np.int64)
        self._joined_current, self._dirty = current, False
        self._layout_version += 1

    def _count_rules(self, ts_ns: int, new_only: bool = False) -> None:
        """Apply the counters of the latest rules dump. `new_only`: only of rules whose chain was dumped after them."""
        if not self._blocks:
            return
        counted = np.concatenate([block.counted for block in self._blocks]) & (self._raw_cells >= 0)
        if new_only:
            counted[counted] = ~self.counts.have[self._raw_cells[counted]]
        packets = np.concatenate([block.packets for block in self._blocks])[counted]
        octets = np.concatenate([block.bytes for block in self._blocks])[counted]
        self.counts.update(self._raw_cells[counted], packets, octets, ts_ns)

    def _count_found(self, pending: PendingDump, ts_ns: int) -> None:
        """Apply the counters of a dump that may lack rules or have some twice, to the rules that are known."""
        self._join()
        blocks = pending.blocks
        if not blocks:
            return
        cells = np.array([cell for block in blocks for cell in self._picture.cells_of(block.rules)], np.int64)
        counted = np.concatenate([block.counted for block in blocks]) & (cells >= 0)
        packets = np.concatenate([block.packets for block in blocks])[counted]
        octets = np.concatenate([block.bytes for block in blocks])[counted]
        self._counts.update(cells[counted], packets, octets, ts_ns)

    def _count_policies(self, ts_ns: int) -> None:
        chains = self.raw.chains
        values = {(c.family, c.table, c.name): (c.packets, c.bytes or 0) for c in chains if c.packets is not None}
        found = [
            (self.picture.policy_cell(index), *values[chain.family, chain.table, chain.name])
            for index, chain in enumerate(self.picture.chains)
            if chain.handle is not None and (chain.family, chain.table, chain.name) in values
        ]
        self._update(found, ts_ns)

    def _count_legacy(self, kind: TextKind, ts_ns: int) -> None:
        family, found = LEGACY_FAMILY[kind], []
        for saved in self.texts.legacy[family].chains.values():
            index = self.picture.by_name["iptables-legacy", family, saved.table, saved.name]
            first = self.picture.chains[index].first
            if saved.policy is not None:
                found.append((self.picture.policy_cell(index), saved.packets, saved.bytes))
            for at, rule in enumerate(saved.rules):
                if rule.packets is not None and rule.bytes is not None:
                    found.append((first + at, rule.packets, rule.bytes))
        self._update(found, ts_ns)

    def _update(self, found: list[tuple[int, int, int]], ts_ns: int) -> None:
        if found:
            table: Array = np.array(found, dtype=np.uint64)
            self.counts.update(table[:, 0].astype(np.int64), table[:, 1], table[:, 2], ts_ns)
