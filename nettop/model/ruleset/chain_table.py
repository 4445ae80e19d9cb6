"""The table of chains: base chains of all backends in the order of traversal, then user chains that nothing calls."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from nettop.model.filter.fields import ListedFields
from nettop.model.ruleset import words
from nettop.model.ruleset.fields import entry_words, rule_fields
from nettop.model.ruleset.findings import ChainFindings
from nettop.model.ruleset.hooks import hook_rank
from nettop.model.ruleset.order import PROVEN, UNKNOWN, is_dormant, runs_at, ties, traversal
from nettop.model.ruleset.picture import LEGACY, ChainView
from nettop.model.ruleset.rule_tree import RuleRow, jumpers, own_cells, reached
from nettop.model.ruleset.ruleset import Ruleset
from nettop.model.ruleset.shares import Entered, EntriesFinder, entered
from nettop.model.table import Cell, Column, Detail, Line, Row, Snapshot, SortKey, ViewSpec
from nettop.model.window import Match, OrderCache, value_keys
from nettop.text.units import clock, plural

_COUNTED = ("packets", "bytes", "rate")


class _Size(NamedTuple):
    """The number of rules and of chains in the tree of a chain."""

    tree: list[RuleRow]
    rules: int
    chains: int


class ChainTable:
    """The table model of chains. The ident of a row is the ViewSpec.scope of the rules table."""

    columns = (
        Column("priority", "PRIORITY", 15, frozen=True),
        Column("hook", "HOOK", 11),
        Column("family", "FAMILY", 6),
        Column("table", "TABLE", 10, grow=1),
        Column("chain", "CHAIN", 14, grow=2, middle=True),
        Column("type", "TYPE", 8, rank=3),
        Column("policy", "POLICY", 6),
        Column("device", "DEVICE", 8, rank=5, grow=1),
        Column("rules", "RULES", 6, right=True, rank=2),
        Column("packets", "PACKETS", 8, right=True, rank=1),
        Column("rate", "PKT/S", 8, right=True),
        Column("backend", "BACKEND", 15, rank=4),
    )
    default_columns = tuple(column.key for column in columns)
    default_sort: tuple[SortKey, ...] = ()

    def __init__(self, ruleset: Ruleset) -> None:
        self._ruleset = ruleset
        self._orders = OrderCache(self._match)
        self.findings = ChainFindings(ruleset)
        self._layout = -1
        self._natural: list[int] = []
        self._index: dict[int, int] = {}  # by ident
        self._tied: dict[int, str] = {}
        self._jumped: dict[int, list[int]] = {}
        self._sizes: dict[int, _Size] = {}
        self._finder = EntriesFinder()
        self.entries = self._finder.of(ruleset.picture)
        self._entered: list[Entered] = []
        self._counted = (-1, -1)  # versions of layout and counters that `_entered` is of

    @property
    def version(self) -> int:
        """The version, which grows whenever the table may look different."""
        return self._ruleset.version

    def index(self, ident: int | None) -> int | None:
        """Return the index of the chain with this ident, without one of the first; None if there is none."""
        self._prepare()
        return next(iter(self._natural), None) if ident is None else self._index.get(ident)

    def order(self) -> list[int]:
        """Return the chains that have a row (indices), in the order of traversal."""
        self._prepare()
        return self._natural

    def _prepare(self) -> None:
        """Recompute order, ties and sizes if the layout has changed."""
        ruleset = self._ruleset
        if self._layout == ruleset.layout_version:
            return
        picture = ruleset.picture
        self._jumped = jumpers(picture)
        below = reached(picture, self._jumped)
        self._natural = [i for i in traversal(picture) if picture.chains[i].hook is not None or i not in below]
        self._index = {chain.ident: i for i, chain in enumerate(picture.chains)}
        self._tied = ties(picture)
        self._sizes = {i: self._size(i, ruleset.tree(i)) for i in self._natural}
        self.entries = self._finder.of(picture)
        self._layout = ruleset.layout_version

    def _size(self, index: int, tree: list[RuleRow]) -> _Size:
        """Return the size of a chain's tree, which is the same object while its chains do not change."""
        known = self._sizes.get(index)
        if known is not None and known.tree is tree:
            return known
        rows = [row for row in tree if row.rule is not None]
        return _Size(tree, len(rows), len({row.chain for row in rows} | {index}))

    def entered(self, index: int) -> Entered:
        """Return what entered a chain."""
        self._prepare()
        if self._counted != (version := (self._layout, self._ruleset.version)):
            self._counted, self._entered = version, entered(self.entries, self._ruleset.counts)
        return self._entered[index]

    def _uncounted(self, index: int) -> int:
        """Return how many of the chain's own rules have no counter."""
        rules = own_cells(self._ruleset.picture, index)[:-1]  # the last cell is the policy's
        return len(rules) - int(np.count_nonzero(self._ruleset.counts.have[rules]))

    def _value(self, key: str, index: int) -> Any:
        chain = self._ruleset.picture.chains[index]
        if key in _COUNTED:
            return getattr(self.entered(index), key)
        if key == "hook":
            return hook_rank(chain.hook)
        if key == "rules":
            return self._sizes[index].rules
        plain = {"chain": chain.name, "device": ",".join(chain.devices)}
        return plain[key] if key in plain else getattr(chain, key, None)

    def row(self, ident: int, columns: Sequence[str]) -> Row:
        """Return the row of the chain with this ident."""
        self._prepare()
        index = self._index[ident]
        chain = self._ruleset.picture.chains[index]
        found = self.entered(index)
        cells: dict[str, Cell] = {
            "priority": (words.priority_text(chain, self._tied.get(index, "")), "number" if chain.hook else "dim"),
            "hook": (words.hook_text(chain, index in self._jumped), "heading" if chain.hook else "dim"),
            "family": (chain.family, "proto"),
            "table": (chain.table, ""),
            "chain": (chain.name, "accent"),
            "type": (words.type_text(chain), "nat" if chain.type == "nat" else ""),
            "policy": (chain.policy or "", words.verdict_role(chain.policy or "")),
            "device": (",".join(chain.devices), "accent"),
            "rules": (str(self._sizes[index].rules), "number"),
            "packets": (found.text(found.packets), "number" if found.packets else "dim"),
            "rate": (found.text(found.rate), "number" if found.rate else "dim"),
            "backend": (chain.backend, "dim"),
        }
        if is_dormant(chain):
            cells = {key: (text, "dim") for key, (text, _) in cells.items()}
        return Row.of(ident, [cells[key] for key in columns])

    def fields(self) -> ListedFields:
        """Return the columns of all chains for the display filter."""
        chains = self._ruleset.picture.chains

        def numbers(name: str) -> list[float | None] | None:
            if name in _COUNTED:
                return [getattr(self.entered(index), name) for index in range(len(chains))]
            return [getattr(chain, name) for chain in chains] if name in ("priority", "handle") else None

        entries = [(chain, None) for chain in chains]
        return ListedFields(len(chains), numbers, partial(entry_words, self._ruleset.netns, entries))

    def snapshot(self, spec: ViewSpec, now_ns: int) -> Snapshot:
        """Return the window of chains that spec describes."""
        self._prepare()
        order = self._orders.current(spec, now_ns, self.version)
        rows = lambda idents: (self.row(ident, spec.columns) for ident in idents.tolist())  # noqa: E731
        total = len(self._natural)
        return order.snapshot(spec, rows, total, self.notes(), self.version, totals=self._totals())

    def chosen(self, order: Sequence[int], spec: ViewSpec) -> list[int]:
        """Return the chains (indices) that the filter matches, in order: themselves, or a rule or policy below them."""
        if spec.filter is None:
            return list(order)
        own, cells = spec.filter.mask(self.fields()), spec.filter.mask(rule_fields(self._ruleset))
        return [at for at in order if own[at] or any(cells[row.cell] for row in self._ruleset.tree(at))]

    def _match(self, spec: ViewSpec, now_ns: int, frozen: bool) -> Match:
        found = self.chosen(self._natural, spec)
        idents = np.array([self._ruleset.picture.chains[index].ident for index in found], np.int64)
        return Match(idents, lambda: value_keys(spec.sort, lambda key: [self._value(key, index) for index in found]))

    def _totals(self) -> Line:
        picture = self._ruleset.picture
        base = sum(chain.hook is not None for chain in picture.chains)
        line: list[Cell] = [(f"{plural(base, 'base chain')}, {plural(len(picture.chains) - base, 'user chain')}", "")]
        line.append((f"   {plural(len(picture.rules), 'rule')}", ""))
        return (*line, *self.changed(), *self.marks())

    def changed(self) -> Line:
        """Return `   ruleset 41, changed 12:03:11 by nft[4121]   L changes`, if it has changed."""
        line: list[Cell] = []
        generation = self._ruleset.generation
        if generation is not None and generation.event:
            process = f"{generation.process}[{generation.pid}]" if generation.pid else "?"
            line.append((f"   ruleset {generation.id}, changed {clock(generation.ts_ns)} by {process}", "dim"))
        if self._ruleset.changes.commits:
            line += [("   L", "key"), (" changes", "dim")]
        return tuple(line)

    def marks(self) -> Line:
        """Return the meaning of the marks ? and ¹, where there are any."""
        self._prepare()
        line: list[Cell] = []
        marks = set(self._tied.values())
        line += [(f"   {UNKNOWN} order at equal priority not known", "dim")] if UNKNOWN in marks else []
        line += [(f"   {PROVEN} shown by a trace", "dim")] if PROVEN in marks else []
        if any(chain.type == "nat" for chain in self._ruleset.picture.chains):
            line.append((f"   ¹ {words.FIRST_PACKET}", "nat"))
        return tuple(line)

    def notes(self) -> tuple[Line, ...]:
        """Return what limits the chains shown, or why there are none."""
        notes: list[Line] = []
        if not self._ruleset.picture.chains and not self._ruleset.texts.legacy_errors():
            notes.append(((f"No chains: {words.NO_RULES}.", ""),))
        elif self._ruleset.stale():
            notes.append((("The rules' words are older than the ruleset, until it is read again.", "warn"),))
        elif missing := self._ruleset.picture.missing_texts:
            notes.append(((f"{plural(missing, 'rule')} without words: their tool did not print them", "warn"),))
        if bare := self._ruleset.tables_without_chains():
            notes.append(((f"Tables without chains: {', '.join(words.table_path(table) for table in bare)}", ""),))
        for one in self._ruleset.texts.flowtables:
            named = f"Flowtable {one.family} {one.table} {one.name} ({', '.join(one.devices)})"
            notes.append(((f"{named}: {words.OFFLOADED}", ""),))
        if self._ruleset.raw.interrupted:
            notes.append((("The ruleset kept changing while it was read: some rules may be missing.", "warn"),))
        errors = {error for error in self._ruleset.texts.errors.values() if error}
        notes += [((error, "warn"),) for error in sorted(errors)]
        return tuple(notes)

    def detail(self, ident: int, now_ns: int) -> Detail | None:
        """Return the detail of a chain."""
        index = self.index(ident)
        return None if index is None else Detail(ident, self.title(index), tuple(self._lines(index)))

    def title(self, index: int) -> Line:
        """Return `inet fw forward   nft   priority 0 filter   policy drop   14 rules in 3 chains   39k pkt/s`."""
        self._prepare()
        chain = self._ruleset.picture.chains[index]
        _, rules, chains = self._size(index, self._ruleset.tree(index))
        line: list[Cell] = [(words.chain_path(chain), "accent"), (f"   {chain.backend}", "dim")]
        if chain.hook is not None:
            line.append((f"   {chain.hook} {words.priority_text(chain, self._tied.get(index, ''))}", "number"))
        if chain.policy is not None:
            line += [("   policy ", ""), (chain.policy, words.verdict_role(chain.policy))]
        line.append((f"   {plural(rules, 'rule')}" + (f" in {plural(chains, 'chain')}" if chains > 1 else ""), ""))
        found = self.entered(index)
        if found.rate is not None:
            line.append((f"   {found.text(found.rate)} pkt/s", "number"))
        return tuple(line)

    def _owner(self, chain: ChainView) -> str:
        tables = self._ruleset.raw.tables if chain.handle is not None else ()
        table = next((one for one in tables if (one.family, one.name) == chain.table_key[1:]), None)
        return f"process {table.owner}" if table and table.owner else ""

    def _lines(self, index: int) -> list[Line]:
        chain = self._ruleset.picture.chains[index]
        pairs = [
            ("type", words.type_text(chain)),
            ("devices", ", ".join(chain.devices)),
            ("handle", str(chain.handle) if chain.handle is not None else ""),
            ("flags", ", ".join(chain.flags)),
            ("owner", self._owner(chain)),
            ("comment", chain.comment or ""),
            ("entered", _entered_text(self.entered(index), self._uncounted(index))),
        ]
        lines = words.detail_lines(pairs)
        if chain.type == "nat":
            lines.append(((f"  sees the {words.FIRST_PACKET}, at priority {runs_at(chain)}, not at its own", "nat"),))
        if is_dormant(chain):
            lines.append((("  does not run: its table is dormant", "warn"),))
        if mark := self._tied.get(index):
            order = "a trace shows their order" if mark == PROVEN else "which runs first is not known"
            role = "" if mark == PROVEN else "warn"
            lines.append(((f"  another chain is at this hook and priority: {order}", role),))
        if chain.backend == LEGACY:
            lines.append((("  legacy: counters come with each reading of iptables-legacy-save", "dim"),))
        return lines + [((f"  ! {found.summary}", "warn"),) for found in self.findings(chain)]


def _entered_text(found: Entered, uncounted: int) -> str:
    missing = f"; {plural(uncounted, 'rule')} not counted" if uncounted else ""
    if found.packets is None:
        return f"not known: no counter shows it{missing}"
    packets, octets = plural(int(found.packets), "packet"), plural(int(found.bytes or 0), "byte")
    return f"{found.least}{packets}, {found.least}{octets}{missing}"
