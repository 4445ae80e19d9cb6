"""The dumps of a ruleset: the one in progress, the times of the latest ones, and what has changed since."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from nettop.batch import DumpMark
from nettop.decode.nftables.decoder import NftDecoded, RuleBlock
from nettop.decode.nftables.rules import Rules
from nettop.model.ruleset.texts import TableKey

RULES = "nft-rules"  # DumpMark.what; of one table: `nft-rules inet fw`, of those on screen: `nft-rules *`
COUNTED = ("nft-chains", RULES)  # dumps with counters
_UNDIVIDED = ("nft-tables", "nft-chains", "nft-objects")  # dumps that are of all tables
DUMPS = (*_UNDIVIDED, RULES)
_INTERRUPTED_AFTER_NS = 1_000_000_000  # an interrupted dump replaces one that is older
_REST_NS_A_RULE = 1_000_000  # of the dump before: to join 10,000 changed rules takes 150 ms, at most 2 % of a core


def kind_of(mark: DumpMark) -> str:
    """Return the kind of dump: one of DUMPS, or that of another model."""
    return mark.what.partition(" ")[0]


class PendingDump:
    """A dump in progress."""

    def __init__(self, mark: DumpMark) -> None:
        self.stream, self.what, self.begun_ns = mark.stream, mark.what, mark.ts_ns
        self.kind, _, part = mark.what.partition(" ")
        family, _, name = part.partition(" ")
        self.table: TableKey | None = (family, name) if part else None  # all of them
        self.is_of_screen = part == "*"  # rules on screen, for their counters only
        self.parts: list[NftDecoded] = []

    @property
    def blocks(self) -> list[RuleBlock]:
        """The rules that have come."""
        return [block for part in self.parts for block in part.blocks]

    @property
    def size(self) -> int:
        """The number of rules that have come."""
        return sum(len(block.rules) for block in self.blocks)


class DumpTimes:
    """The times of the latest dumps and changes, in ns since the epoch. Those of rules are known by table."""

    def __init__(self) -> None:
        self.changed_ns = 0  # of the latest known change
        self.read_ns: dict[str, int] = {}  # by kind: when the latest dump began
        # Of the rules, by table (None: of all): changes, dumps, and the dumps that may not be whole.
        self._rules_changed_ns: dict[TableKey | None, int] = {}
        self._rules_read_ns: dict[TableKey | None, int] = {}
        self._interrupted: set[TableKey | None] = set()

    def change(self, ts_ns: int, tables: Collection[TableKey] | None) -> None:
        """Note a change of the rules of these tables; None: perhaps of all."""
        self.changed_ns = max(self.changed_ns, ts_ns)
        for table in (None,) if tables is None else tables:
            self._rules_changed_ns[table] = max(ts_ns, self._rules_changed_ns.get(table, 0))

    def read(self, dump: PendingDump, interrupted: bool) -> bool:
        """Note that a dump is taken. Return whether the rules may not be whole."""
        self.read_ns[dump.kind] = dump.begun_ns
        if dump.kind == RULES:
            if dump.table is None:
                self._rules_read_ns, self._interrupted = {}, set()
                later = {table: ns for table, ns in self._rules_changed_ns.items() if ns > dump.begun_ns}
                self._rules_changed_ns = later
            self._rules_read_ns[dump.table] = dump.begun_ns
            (self._interrupted.add if interrupted else self._interrupted.discard)(dump.table)
        return bool(self._interrupted)

    def is_usable(self, dump: PendingDump, mark: DumpMark, rules: int) -> bool:
        """Return whether to take a dump: under continuous changes none is complete, and then an interrupted one is.

        Whole rules are not replaced by it while it is known which tables have changed: these are read by themselves.
        `rules` is the number of those to join with it.
        """
        if mark.complete or not mark.interrupted:
            return mark.complete
        is_whole = None not in self._interrupted and "" not in self.unread()
        if dump.kind == RULES and dump.table is None and is_whole:
            return False
        read_ns = self._table_read_ns(dump.table) if dump.kind == RULES else self.read_ns.get(dump.kind, 0)
        return mark.ts_ns - read_ns > max(_INTERRUPTED_AFTER_NS, _REST_NS_A_RULE * rules)

    def unread(self) -> set[str]:
        """Return the tables (`inet fw`) whose rules have changed since they were read; "" in it: perhaps all."""
        if RULES not in self.read_ns:
            return {""}
        changed = self._rules_changed_ns.items()
        return {" ".join(table or ()) for table, ts_ns in changed if self._table_read_ns(table) < ts_ns}

    def are_old(self) -> bool:
        """Return whether a dump is older than the latest known change of what it reads."""
        return bool(self.unread()) or any(self.read_ns.get(what, -1) < self.changed_ns for what in _UNDIVIDED)

    def _table_read_ns(self, table: TableKey | None) -> int:
        return max(self._rules_read_ns.get(None, -1), self._rules_read_ns.get(table, -1))


def with_table(blocks: Sequence[RuleBlock], table: TableKey, read: Sequence[RuleBlock]) -> list[RuleBlock]:
    """Return the blocks, in dump order, with those in `read` for the rules of this table; a new table is last."""
    kept: list[RuleBlock] = []
    place: int | None = None
    for block in blocks:
        others = [key[:2] != table for key, _ in block.rules.chains]
        if all(others):
            kept.append(block)
            continue
        others_of = np.repeat(others, [count for _, count in block.rules.chains])
        before = np.arange(len(others_of)) < np.argmin(others_of)
        kept.append(_part(block, others_of & before))
        place = len(kept) if place is None else place
        kept.append(_part(block, others_of & ~before))
    place = len(kept) if place is None else place
    return [block for block in (*kept[:place], *read, *kept[place:]) if block.rules]


def _part(block: RuleBlock, chosen: NDArray[np.bool_]) -> RuleBlock:
    rules = Rules(compress(block.rules, chosen))
    return RuleBlock(rules, block.counted[chosen], block.packets[chosen], block.bytes[chosen])
