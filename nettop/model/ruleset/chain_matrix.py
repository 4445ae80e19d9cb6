"""The base chains as a table model whose snapshots have a matrix: hooks are columns, priorities are rows."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from nettop.batch import Array
from nettop.model.ruleset import words
from nettop.model.ruleset.chain_table import ChainTable
from nettop.model.ruleset.changes.log import MARKED_NS
from nettop.model.ruleset.find import RuleFinder
from nettop.model.ruleset.matrix import EMPTY, Matrix, Place, lay_out, path_with
from nettop.model.ruleset.order import is_dormant, ties, traversal
from nettop.model.ruleset.rule_tree import rules_of_tree
from nettop.model.ruleset.ruleset import Ruleset
from nettop.model.table import Column, Detail, Line, Segment, Snapshot, SortKey, ViewSpec
from nettop.text.units import ABSENT, AT_LEAST, scaled, sparkline

# Words of rules that make the kernel track connections.
_TRACKS = re.compile(
    r"\bct |-m (conntrack|state|conn|helper)|-j (CT|CONN|MASQUERADE|[SD]NAT|REDIRECT|NETMAP|SYNPROXY)\b"
)
_DROPS = ("drop", "reject")
_DROP_ELEMENT = re.compile(r" : drop\b")
_LEGEND = {"N": "nft", "I": "iptables-nft", "L": "iptables-legacy", "·": "kernel"}  # first signs of names


@dataclass(frozen=True, slots=True)
class MatrixSnapshot(Snapshot):
    """All base chains of one path, and their places. Its rows are in the order of `matrix.idents`."""

    matrix: Matrix = EMPTY
    findings: int = 0


class ChainMatrix:
    """The table model of the matrix. ViewSpec.group is the path, ViewSpec.zeroes shows the kernel's functions."""

    columns = tuple(
        Column(key, key.upper(), len(key), sortable=False)
        for key in ("family", "table", "chain", "hook", "priority", "policy", "backend")
    )
    default_columns = tuple(column.key for column in columns)
    default_sort: tuple[SortKey, ...] = ()

    def __init__(self, ruleset: Ruleset, chains: ChainTable, finder: RuleFinder) -> None:
        self._ruleset, self._chains, self._finder = ruleset, chains, finder
        self._found: Counter[int] = Counter()  # rules found, by the ident of their chain
        self._layout = -1
        self._order: list[int] = []
        self._tied: dict[int, str] = {}
        self._tracked: set[str] = set()
        self._rules: dict[int, int] = {}  # number of rules below a base chain
        self._drops: dict[int, Array] = {}  # cells of those that drop
        self._blind: set[int] = set()  # cells that drop some of the packets that they count
        self._shared: set[int] = set()  # cells that drop below several base chains

    @property
    def version(self) -> int:
        """The version, which grows whenever the matrix may look different."""
        return self._chains.version

    def _prepare(self) -> None:
        if self._layout == self._ruleset.layout_version:
            return
        self._layout, picture = self._ruleset.layout_version, self._ruleset.picture
        self._blind = set()
        self._order = [index for index in traversal(picture) if picture.chains[index].hook is not None]
        self._tied = ties(picture)
        self._tracked = {
            picture.chains[rule.chain].family for rule in picture.rules if _TRACKS.search(rule.text or "")
        } | {chain.family for chain in picture.chains if chain.type == "nat"}
        for index in self._order:
            self._count(index)
        uses = Counter(cell for cells in self._drops.values() for cell in cells.tolist())
        self._shared = {cell for cell, times in uses.items() if times > 1}

    def _count(self, index: int) -> None:
        rows, policy = rules_of_tree(self._ruleset.tree(index)), self._ruleset.picture.chains[index].policy
        self._rules[index] = sum(row.rule is not None for row in rows)
        drops = [policy in _DROPS if row.rule is None else self._may_drop(row.rule) for row in rows]
        self._drops[index] = np.array([row.cell for row, may in zip(rows, drops, strict=True) if may], np.int64)

    def _may_drop(self, at: int) -> bool:
        rule = self._ruleset.picture.rules[at]
        of_map = rule.verdict == "vmap" and (
            bool(_DROP_ELEMENT.search(rule.text or ""))
            or any(one.value.verdict == "drop" for _, branches in self._ruleset.branches(rule.raw) for one in branches)
        )
        if of_map or (rule.raw is not None and not rule.raw.counts_matches):
            self._blind.add(at)
        return of_map or rule.verdict.lower() in _DROPS

    def _dropped(self, indices: list[int], alone: bool = False) -> Segment:
        """Return `d 3/s`, `d ≥3/s`, `d ≤3/s` or `d –`; "" if nothing in these chains drops.

        `alone`: without what other base chains share, if there is no upper bound.
        """
        cells = np.unique(np.concatenate([self._drops[index] for index in indices] or [np.empty(0, np.int64)]))
        if not len(cells):
            return "", ""
        rates = self._ruleset.counts.rate[cells]
        rates[np.isin(cells, list(self._blind))] = np.nan
        shared = np.isin(cells, list(self._shared)) if alone else np.zeros(len(cells), np.bool_)
        if unknown := bool(np.isnan(rates).any()):
            rates[shared] = np.nan
        dropped = float(np.nansum(rates))
        if not dropped:
            return f"d {ABSENT if unknown else '0/s'}", "dim"
        mark = AT_LEAST if unknown else "≤" if (shared & (rates > 0)).any() else ""
        return f"d {mark}{scaled(dropped)}/s", "bad"

    def _fill(self, index: int, place: Place, top: float) -> Place:
        """Return the place with its policy and facts; `top` is the highest rate of the matrix."""
        chain = self._ruleset.picture.chains[index]
        if is_dormant(chain):
            return replace(place, name=(place.name[0], "dim"), facts=(("asleep:", "dim"), ("dormant", "dim")))
        policy = chain.policy or ""
        if mark := self._tied.get(index):
            name, short = _marked(place.name[0], mark), _marked(place.short, mark)
            place = replace(place, name=(name, "accent"), short=short)
        if "owner" in chain.flags:  # its table is that of a running program: of a trace
            place = replace(place, name=(place.name[0], "dim"))
        found = self._found[chain.ident]
        marks: Line = ((f"● {found} found", "new"),) if found else ()
        facts = (*marks, (f"{self._rules[index]:,}r", "number"), *self._moving(index, chain.type == "nat", top))
        return replace(place, policy=(policy, words.verdict_role(policy)), facts=facts)

    def _moving(self, index: int, nat: bool, top: float) -> Line:
        """Return packets (flows, if `nat`) and drops a second; drops first if there are any."""
        facts: list[Segment] = []
        found = self._chains.entered(index)
        if (rate := found.rate) is not None:
            heat = sparkline([math.log1p(rate)], math.log1p(top)).strip()
            unit = " flows/s" if nat else "/s"
            facts.append((f"{found.text(rate)}{unit} {heat}".rstrip(), "number" if rate else "dim"))
        dropped = self._dropped([index], alone=True)
        facts += [dropped] if dropped[0] else []
        return tuple(sorted(facts, key=lambda fact: fact[1] != "bad"))

    def matrix(self, spec: ViewSpec) -> Matrix:
        """Return the matrix of the path that spec asks for, of the chains that its filter matches."""
        self._prepare()
        self._found = Counter(hit.chain for _, hit in self._finder.found(spec.find)) if spec.find else Counter()
        chains = self._ruleset.picture.chains
        found = [(index, chains[index]) for index in self._chains.chosen(self._order, spec)]
        top = max((self._chains.entered(index).rate or 0.0 for index, _ in found), default=0.0)
        fill = lambda index, place: self._fill(index, place, top)  # noqa: E731
        flowtables = self._ruleset.texts.flowtables
        path = path_with(next((chain for _, chain in found if chain.ident == spec.anchor), None), spec.group or "")
        return lay_out(found, path, self._tracked if spec.zeroes else None, fill, self._dropped, flowtables)

    def snapshot(self, spec: ViewSpec, now_ns: int) -> MatrixSnapshot:
        """Return all base chains of a path, with their places."""
        matrix = self.matrix(spec)
        idents = matrix.idents
        rows = tuple(self._chains.row(ident, spec.columns) for ident in idents)
        anchor = idents.index(spec.anchor) if spec.anchor in idents else None
        marks: Line = ((f"   {_legend(matrix)}", "dim"), *self._chains.marks())
        changed, generation = self._chains.changed(), self._ruleset.generation
        # what is new comes first, since the end of the line may be cut
        recent = generation is not None and now_ns - generation.ts_ns < MARKED_NS
        first, *rest = (*changed, *marks) if recent else (*marks, *changed)
        totals: Line = ((first[0].lstrip(), first[1]), *rest)
        notes = self._chains.notes()
        version, wrong = self.version, len(self._chains.findings.all())
        count, total = len(rows), len(self._order)
        return MatrixSnapshot(spec, 0, rows, count, total, anchor, totals, notes, version, matrix, wrong)

    def detail(self, ident: int, now_ns: int) -> Detail | None:
        """Return the detail of a chain."""
        return self._chains.detail(ident, now_ns)


def _legend(matrix: Matrix) -> str:
    """Return the meaning of the signs that this matrix has."""
    facts = [text for place in matrix.places for text, _ in place.facts] + [text for text, _ in matrix.drops]
    parts = ["d dropped/s"] * any(text.startswith("d ") for text in facts) + ["r rules"] * any(facts)
    used = {place.name[0][:1] for place in matrix.places}
    parts += [f"{sign} {meaning}" for sign, meaning in _LEGEND.items() if sign in used]
    bound = any(AT_LEAST in text or ABSENT in text for text in facts)
    return "  ".join(parts + [f"{AT_LEAST} {ABSENT} some rules have no counter"] * bound)


def _marked(name: str, mark: str) -> str:
    """Return `N? fw/forward`: the mark of a tie behind the letter of the tool."""
    return f"{name[0]}{mark}{name[1:]}"
