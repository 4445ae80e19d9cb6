"""The table of rules of one base chain: user chains nested under their jump, counters, rates, the last minute."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from nettop.decode.nftables.listing import stateless
from nettop.model.filter.fields import ListedFields
from nettop.model.ruleset import words
from nettop.model.ruleset.chain_table import ChainTable
from nettop.model.ruleset.counters import TracedHits
from nettop.model.ruleset.fields import entry_words
from nettop.model.ruleset.find import RuleFinder
from nettop.model.ruleset.opened_sets import refs_of
from nettop.model.ruleset.picture import NFT, ChainView, RuleView
from nettop.model.ruleset.rule_detail import rule_detail
from nettop.model.ruleset.rule_tree import (
    ELSEWHERE,
    HEADING,
    LEAF,
    OPENED,
    Folding,
    RuleRow,
    SetPlace,
    chain_of_ident,
    filtered,
    fold,
    heading_ident,
    jumpers,
    own_cells,
    rules_of_tree,
)
from nettop.model.ruleset.rule_words import EVERY, expressions, split_rule, whole_rule
from nettop.model.ruleset.ruleset import Ruleset
from nettop.model.ruleset.shares import shares
from nettop.model.table import RULE_WORDS, Cell, Column, Detail, Line, Row, Snapshot, SortKey, ViewSpec
from nettop.model.window import Match, OrderCache, value_keys
from nettop.text.units import ABSENT, plural, scaled, sparkline


class RuleTable:
    """The table model of rules. ViewSpec.scope is a chain's ident; without one the first base chain is shown."""

    columns = (
        Column("number", "#", 6, right=True, frozen=True),
        Column("chain", "CHAIN", 14, rank=3, grow=2, preferred_width=30, max_width=36, middle=True),
        Column("handle", "HANDLE", 6, right=True, rank=7),
        Column("packets", "PACKETS", 8, right=True),
        Column("bytes", "BYTES", 8, right=True, rank=5),
        Column("rate", "PKT/S", 7, right=True),
        Column("share", "SHARE", 6, right=True, rank=4),
        Column("minute", "LAST 60 s", 12, rank=6, sortable=False),
        Column("verdict", "VERDICT", 10, grow=3, preferred_width=32, max_width=32, whole=True, middle=True),
        Column("rule", "RULE", 25, grow=10, preferred_width=45, sortable=False, whole=True, middle=True),
        Column("note", "", 20, rank=8, sortable=False),
    )
    default_columns = tuple(column.key for column in columns if column.key != "chain")  # headings name the chains
    default_sort: tuple[SortKey, ...] = ()

    def __init__(
        self, ruleset: Ruleset, chains: ChainTable, finder: RuleFinder, traced: TracedHits | None = None
    ) -> None:
        self._ruleset, self._chains, self._finder, self._traced = ruleset, chains, finder, traced or TracedHits()
        self._found: set[int] = set()  # cells
        self._orders = OrderCache(self._match)
        self._version = -1  # of the ruleset's layout
        self._layout: tuple[object, ...] = ()
        self._tree: list[RuleRow] = []
        self._rows: list[RuleRow] = []
        self._folding = Folding([], set(), {})
        self._jumpers: dict[int, list[int]] = {}
        self._flat = False  # filtered or sorted: each rule has its chain before its words
        self._positions: dict[int, int] = {}  # in `_rows`, by ident
        self._cells_at: Any = np.empty(0, np.int64)
        self._idents: Any = np.empty(0, np.int64)
        self._shares: Any = np.empty(0)

    @property
    def version(self) -> int:
        """The version, which grows whenever the table may look different."""
        return self._ruleset.rules_version + self._ruleset.opened.version + self._traced.version

    def _prepare(self, spec: ViewSpec) -> int | None:
        index = self._chains.index(spec.scope)
        picture, version = self._ruleset.picture, self._ruleset.layout_version
        if self._version != version:
            self._version, self._jumpers = version, jumpers(picture)
        flat = spec.filter is not None or bool(spec.sort) or spec.isolated
        tree = [] if index is None else self._ruleset.tree(index)
        searched = (spec.find, spec.isolated, version, self._finder.version) if spec.find or spec.isolated else ()
        layout = index, flat, spec.toggled, searched, self._ruleset.opened.version
        if self._tree is not tree or self._layout != layout:
            self._flat, self._layout, self._tree = flat, layout, tree
            cells = [cell for cell, _ in self._finder.found(spec.find)] if spec.find else []
            self._found = set(cells)
            if spec.isolated and not spec.find:
                cells = [cell for cell, _ in self._finder.every()]
            if spec.isolated:
                tree = [RuleRow(picture.rules[cell].chain, cell, cell, 0, LEAF) for cell in cells]
            is_toggled = lambda chain: heading_ident(picture.chains[chain]) in spec.toggled  # noqa: E731
            self._folding = fold(rules_of_tree(tree) if flat else tree, is_toggled, self._is_empty)
            self._rows = self._folding.rows if flat else [*self._with_sets(self._folding.rows, spec.toggled)]
            self._cells_at = np.array([row.cell for row in self._rows], dtype=np.int64)
            rules = picture.rules
            idents = (
                self._ident(row) if row.place or row.rule is None else rules[row.rule].ident for row in self._rows
            )
            self._positions = {ident: at for at, ident in enumerate(idents)}
            self._idents = np.array(list(self._positions), dtype=np.int64)
        self._ruleset.on_screen = []
        self._shares = shares(picture, self._chains.entries, self._ruleset.counts, self._cells_at)
        return index

    def _is_empty(self, chain: int) -> bool:
        return not self._ruleset.picture.chains[chain].count

    def _with_sets(self, rows: Sequence[RuleRow], toggled: frozenset[int]) -> Iterator[RuleRow]:
        """Yield the rows, each rule that is toggled with the sets that it uses."""
        rules = self._ruleset.picture.rules
        for row in rows:
            yield row
            if row.rule is not None and rules[row.rule].ident in toggled:
                yield from self._ruleset.opened.rows(self._ruleset.picture, row, self._rule(row), toggled)

    def _ident(self, row: RuleRow) -> int:
        if row.place is not None:
            return row.place.ident
        # the ident of a policy row is that of its chain, negative to differ from rules
        if row.rule is not None:
            return self._rule(row).ident
        return heading_ident(self._chain(row)) if row.jump == HEADING else -self._chain(row).ident

    def _chain(self, row: RuleRow) -> ChainView:
        return self._ruleset.picture.chains[row.chain]

    def _rule(self, row: RuleRow) -> RuleView:
        return self._ruleset.picture.rules[row.rule or 0]

    def _value(self, key: str, at: int) -> Any:
        row, counts = self._rows[at], self._ruleset.counts
        if key in ("packets", "bytes", "rate"):
            value = getattr(counts, key)[row.cell]
            return float(value) if counts.have[row.cell] and value == value else None
        if key == "share":
            return float(self._shares[at]) if self._shares[at] == self._shares[at] else None
        if key == "chain":
            return self._chain(row).name
        return getattr(self._rule(row), key, None) if row.rule is not None else None

    def _hits(self, row: RuleRow) -> int:
        """Return how many packets of the latest trace met a rule or a policy."""
        return self._traced.counts[-self._chain(row).ident if row.rule is None else self._rule(row).ident]

    def _counter_cells(self, at: int) -> dict[str, Cell]:
        row, counts = self._rows[at], self._ruleset.counts
        cell = row.cell
        if not counts.have[cell]:
            absent: dict[str, Cell] = {key: (ABSENT, "dim") for key in ("packets", "bytes", "rate")}
            hits = self._hits(row)
            return absent | {"share": ("", "")} | ({"packets": (f"t {scaled(hits)}", "new")} if hits else {})
        rate = float(counts.rate[cell])
        role = "number" if counts.packets[cell] else "dim"
        return {
            "packets": (scaled(int(counts.packets[cell])), role),
            "bytes": (scaled(int(counts.bytes[cell])), role),
            "rate": (scaled(rate if rate == rate else None), "number" if rate > 0 else "dim"),
            "share": (words.share_text(float(self._shares[at])), role),
            "minute": (sparkline(counts.minute(cell)), "number"),
        }

    def _row(self, ident: int, spec: ViewSpec, now_ns: int) -> Row:
        at = self._positions[ident]
        row, cells = self._rows[at], self._cells(at, spec.toggled, now_ns)
        if row.rule is not None and (raw := self._rule(row).raw) is not None:
            self._ruleset.on_screen.append((raw.family, raw.table, raw.chain, raw.handle))
        shown = Row.of(ident, [cells.get(key, ("", "")) for key in spec.columns])
        if row.place is not None:
            return self._set_row(shown, row, row.place, now_ns)
        if row.rule is None:
            return replace(shown, link=ident if row.jump == HEADING else None, whole=self._about(row))
        reads = self._uses_sets(row)
        link = self._home(self._ruleset.picture.targets(self._rule(row))) or (ident if reads else None)
        shown = replace(shown, reads=reads)
        whole = self._in_words(row, spec.words)
        within = f" ▸ {'… ▸ ' * (row.depth > 1)}{self._chain(row).name} rule {self._rule(row).number}"
        found = row.rule in self._found
        return replace(shown, link=link, marked=found, whole=whole, within=within if row.depth else "")

    def _in_words(self, row: RuleRow, words: str) -> str:
        """Return a rule in full, in the words of its tool, of nft, or as the expressions that the kernel runs."""
        rule, counts = self._rule(row), self._ruleset.counts
        own = whole_rule(self._chain(row), rule)
        if words == "raw":
            now = (int(counts.packets[row.cell]), int(counts.bytes[row.cell])) if counts.have[row.cell] else None
            return "  ".join(expressions(rule, now)) or f"(of iptables-legacy, without expressions) {own}"
        if words == "nft" and rule.backend != NFT:
            return stateless(self._ruleset.nft_words(rule) or f"(nft has no words for it) {own}")
        return own

    def _uses_sets(self, row: RuleRow) -> bool:
        """Return whether the sets of a rule can be opened below it."""
        return not self._flat and bool(refs_of(self._ruleset.picture, self._rule(row)))

    def _home(self, chains: Iterable[int]) -> int | None:
        """Return the ident of the heading of the first of these chains that is shown below this one."""
        homes = (self._folding.homes.get(chain) for chain in chains)
        return next((heading_ident(self._ruleset.picture.chains[home]) for home in homes if home is not None), None)

    def _set_row(self, shown: Row, row: RuleRow, place: SetPlace, now_ns: int) -> Row:
        """Return the row of a set: its title folds, an element leads to its chain, what follows the last one reads."""
        opened, picture = self._ruleset.opened, self._ruleset.picture
        chain = picture.by_name.get((*self._chain(row).table_key, opened.target(place)))
        link = place.ident if place.at < 0 else None if chain is None else self._home((chain,))
        return replace(shown, link=link, reads=opened.reads(place), whole=opened.whole(place, now_ns))

    def _about(self, row: RuleRow) -> str:
        """Return the chain of a heading, or of the policy, and all rules that jump there."""
        chain = self._chain(row)
        if row.jump != HEADING:
            return f"{words.chain_path(chain)}: policy {chain.policy}"
        return f"{words.chain_path(chain)}: {self._origins(row.chain, 99)}"

    def _origins(self, chain: int, count: int) -> str:
        """Return the first `count` rules that jump to a chain: `from FORWARD 2, 3, OUTPUT 1 and 3 more`."""
        picture = self._ruleset.picture
        rules = [picture.rules[at] for at in self._jumpers.get(chain, ())]
        before = [-1, *(rule.chain for rule in rules)]
        names = [
            f"{rule.number}" if rule.chain == last else f"{picture.chains[rule.chain].name} {rule.number}"
            for rule, last in zip(rules, before, strict=False)
        ]
        more = f" and {len(names) - count} more" if len(names) > count else ""
        return f"from {', '.join(names[:count])}{more}" if names else ""

    def _heading_cells(self, row: RuleRow, indent: str) -> dict[str, Cell]:
        """Return the heading of a user chain: name, rules, who jumps there, and what entered it if it is folded."""
        chain, counts = self._chain(row), self._ruleset.counts
        folded = row.chain in self._folding.folded
        cells = own_cells(self._ruleset.picture, row.chain)[:-1]
        counted = cells[counts.have[cells]]
        text = f"{indent}{ELSEWHERE if folded else OPENED}{chain.name}   "
        text += f"{plural(chain.count, 'rule')}, {self._origins(row.chain, 2)}"
        found = self._chains.entered(row.chain)
        if folded and found.packets is not None:
            text += f"   {found.text(found.packets)} packets"
            text += f", {found.text(found.rate)}/s" if found.rate is not None else ""
        if len(counted):
            text += f"   ({int(np.count_nonzero(counts.packets[counted]))} of {len(counted)} hit)"
        return {"number": (text, "heading")}

    def _cells(self, at: int, toggled: frozenset[int], now_ns: int) -> dict[str, Cell]:
        row = self._rows[at]
        if row.place is not None:
            return self._ruleset.opened.cells(row, row.place, row.place.ident in toggled, now_ns)
        chain, indent = self._chain(row), "  " * row.depth
        if row.jump == HEADING:
            return self._heading_cells(row, "  " * (row.depth - 1))
        cells: dict[str, Cell] = {"chain": (indent + chain.name, "accent"), **self._counter_cells(at)}
        if row.rule is None:
            policy = chain.policy or ""
            role = words.verdict_role(policy)
            came = self._ruleset.changes.mark(chain, None, now_ns)
            cells |= {"verdict": (policy, role), "rule": (EVERY, "dim"), "note": (came, "new")}
            return cells | {"number": ("policy", "dim")}
        rule = self._rule(row)
        matches, verdict = split_rule(rule)
        comment = f"   /* {rule.comment} */" if rule.comment else ""
        targets = [*self._ruleset.picture.targets(rule)]
        empty = bool(targets) and all(map(self._is_empty, targets))
        matches += "   (empty chain)" if empty else ""
        jump = (
            ("" if empty else row.jump)
            or (self._uses_sets(row) and (OPENED if rule.ident in toggled else ELSEWHERE))
            or LEAF
        )
        before = f"{chain.table} {chain.name}: " if self._flat else indent + jump
        counted, came = self._ruleset.counts.have[row.cell], self._ruleset.changes.mark(chain, rule, now_ns)
        note = came or words.counter_note(
            self._ruleset.counts, row.cell, self._hits(row), now_ns, words.named_counter(rule)
        )
        role = words.verdict_role(rule.verdict) if rule.text else "dim"
        return cells | {
            "number": (f"{came[:1]}{rule.number}", "new" if came else "number"),
            "handle": (str(rule.handle) if rule.handle is not None else ABSENT, "dim"),
            "verdict": (verdict, role),
            "rule": (before + matches + comment, "" if rule.text else "dim"),
            "note": (note, "new" if came or (self._hits(row) and not counted) else "warn" if counted else "dim"),
        }

    def fields(self) -> ListedFields:
        """Return the columns for the display filter: the rules of the last snapshot's scope."""
        entries = [(self._chain(row), None if row.rule is None else self._rule(row)) for row in self._rows]

        def numbers(name: str) -> list[float | None] | None:
            if name == "priority":
                return [chain.priority for chain, _ in entries]
            known = name in ("packets", "bytes", "rate", "handle")
            return [self._value(name, at) for at in range(len(entries))] if known else None

        return ListedFields(len(entries), numbers, partial(entry_words, self._ruleset.netns, entries))

    def snapshot(self, spec: ViewSpec, now_ns: int) -> Snapshot:
        """Return the window of rules that spec describes, below the chain that is its scope."""
        index = self._prepare(spec)
        order = self._orders.current(spec, now_ns, self.version)
        rows = lambda idents: (self._row(ident, spec, now_ns) for ident in idents.tolist())  # noqa: E731
        totals: Line = () if index is None else self._chains.title(index)
        if spec.isolated:
            totals = ((f"{plural(len(self._rows), 'rule')} of every chain", ""),)
        if spec.moved:
            totals = (*totals, (f"   only what moved: {len(order)} of {plural(len(self._rows), 'row')}", "warn"))
        if spec.words:
            totals = (("i ", "key"), (f"in full: {RULE_WORDS[spec.words]}   ", "warn"), *totals)
        notes: tuple[Line, ...] = () if index is not None else ((("Choose a chain above to see its rules.", "dim"),),)
        if spec.moved and not len(order):
            notes = ((("No rule here matched while it was watched. ", "dim"), ("v", "key"), (" shows all.", "dim")),)
        return order.snapshot(spec, rows, len(self._rows), notes, self.version, totals=totals)

    def _match(self, spec: ViewSpec, now_ns: int, frozen: bool) -> Match:
        shown = self._moved() if spec.moved else range(len(self._rows))
        found = filtered(shown, spec, self.fields)
        return Match(
            self._idents[np.array(found, np.int64)],
            lambda: value_keys(spec.sort, lambda key: [self._value(key, at) for at in found]),
        )

    def _moved(self) -> list[int]:
        """Return the rows whose counter moved while it was watched, and the headings above them."""
        found: list[int] = []
        depth = -1  # of the row kept last, which lies below
        for at in range(len(self._rows) - 1, -1, -1):
            row = self._rows[at]
            is_heading = row.jump == HEADING
            if (is_heading and row.depth <= depth) or self._has_moved(row):
                found.append(at)
                depth = row.depth - is_heading
        return found[::-1]

    def _has_moved(self, row: RuleRow) -> bool:
        """Return whether a rule, or one of a folded chain, matched while it was watched."""
        hits = self._ruleset.counts.hit_ns
        if row.jump != HEADING:
            return bool(hits[row.cell])
        return row.chain in self._folding.folded and bool(hits[own_cells(self._ruleset.picture, row.chain)].any())

    def detail(self, ident: int, now_ns: int) -> Detail | None:
        """Return the detail of a rule; for a policy row that of its chain."""
        ident = self._ruleset.opened.rule_of(ident)
        if ident < 0:
            return self._chains.detail(chain_of_ident(ident), now_ns)
        picture = self._ruleset.picture
        cell = next((at for at, rule in enumerate(picture.rules) if rule.ident == ident), None)
        if cell is None:
            return None
        return rule_detail(self._ruleset, cell, self._traced.counts[ident], now_ns)
