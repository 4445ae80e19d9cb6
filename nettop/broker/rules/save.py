"""The rules of one family in the words of its save tool, such as iptables-nft-save, with their handles.

One rule of nft can end the tool, or make it leave out a table. What it did not print is then requested chain by chain,
and rule by rule in the chains where that fails too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from nettop.broker.rules.inventory import XTABLES, ChainName, Inventory, Kernel, Rule
from nettop.broker.rules.report import write_report
from nettop.broker.rules.tool import Runner

SECONDS, REST_SECONDS = 6.0, 7.0  # for the tool on everything, and for what it did not print
_EACH = 100  # rules of a chain that are requested one by one; in a longer chain only those that nft has no words for
Lines = dict[int, bytes]  # `-A` lines by handle
_LISTS_BY_CHAIN = "ebtables-nft"  # it has no -S
_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_HEADING = b"Bridge chain: "


class _Save:
    def __init__(self, program: str, family: str) -> None:
        self.program, self.family = program, family
        self.kernel = Kernel()
        self.runner = Runner(SECONDS, self.kernel.generation)
        self.parts: list[bytes] = []
        self.tables: dict[tuple[str, bytes], int] = {}  # handles
        self.handles: dict[ChainName, list[int]] = {}
        self.failures: list[str] = []

    def all(self) -> None:
        """Run the tool on everything, then on the chains that this did not give."""
        generation, before = self.kernel.generation(), self._chains()
        if not any(before.chains.values()):
            return
        whole = self.runner.run(f"{self.program}-save", "-c")
        unchanged = generation and generation == self.kernel.generation()
        after = before if unchanged else self._chains()
        printed = _rules_by_chain(whole.output)
        self.parts.append(whole.output)
        for chain, rules in after.chains.items():
            if after.same(before, chain) and printed[chain.table, chain.name] == len(rules):
                self.handles[chain] = [rule.handle for rule in rules]
        missing = [chain for chain in after.chains if after.chains[chain] and chain not in self.handles]
        self.tables = after.tables
        if whole.failure and missing:
            self.failures.append(whole.failure)
        if missing:
            self._rest(after, sorted(missing, key=lambda one: not any(rule.extends for rule in after.chains[one])))

    def _chains(self) -> Inventory:
        found = self.kernel.inventory(self.family)
        found.chains = {chain: rules for chain, rules in found.chains.items() if chain.table in XTABLES}
        return found

    def _rest(self, before: Inventory, chains: list[ChainName]) -> None:
        """Request each of these chains, and then each rule that the tool did not print with its chain.

        None of those with a policy: `ebtables-nft -L` (1.8.9) makes its rule again, which changes the ruleset.
        """
        self.runner.extend(REST_SECONDS)
        safe = [chain for chain in chains if not chain.name.startswith(b"-") and chain not in before.with_policy]
        found = {chain: self._by_chain(before, chain) for chain in safe}
        for chain, lines in found.items():
            if lines is not None:
                lines.update(self._by_rule(before.chains[chain], chain, lines))
        after = self._chains()
        for chain, lines in found.items():
            if lines and after.same(before, chain):
                handles = [rule.handle for rule in before.chains[chain] if rule.handle in lines]
                self.handles[chain] = handles
                body = b"".join(lines[handle] for handle in handles)
                self.parts.append(b"*%s\n:%s - [0:0]\n%s" % (chain.table, chain.name, body))

    def _by_chain(self, before: Inventory, chain: ChainName) -> Lines | None:
        """Return the rules of the chain that the tool prints before it fails; None if it refuses all of them."""
        lines, failure = self._listed(chain)
        if "incompatible" in failure:
            return None
        rules = before.chains[chain]
        if any(_is_odd(line) for line in lines) or any(line.count(b"\n") > 1 for line in lines):
            return {}  # a comment may look like further rules
        if not failure and len(lines) != len(rules):
            return {}
        return dict(zip([rule.handle for rule in rules], lines, strict=False))

    def _by_rule(self, rules: list[Rule], chain: ChainName, known: Lines) -> Iterator[tuple[int, bytes]]:
        """Yield the handle and words of each other rule that the tool prints by its number."""
        for number, rule in enumerate(rules, 1):
            wanted = rule.handle not in known and (rule.extends or len(rules) <= _EACH)
            if wanted and not self.runner.is_over and self.program != _LISTS_BY_CHAIN:
                lines, _ = self._listed(chain, str(number))
                if len(lines) == 1:
                    yield rule.handle, lines[0]

    def _listed(self, chain: ChainName, *number: str) -> tuple[list[bytes], str]:
        """Return the rules of a chain, or one of them, as `-A` lines, and the failure of the tool."""
        if self.runner.is_over:
            return [], "too late"
        if self.program == _LISTS_BY_CHAIN:
            run = self.runner.run(self.program, "-t", chain.table, "-L", chain.name)
            lines = run.output.partition(_HEADING)[2].splitlines(keepends=True)[1:]
            return [b"-A %s %s" % (chain.name, line) for line in lines], run.failure
        run = self.runner.run(self.program, "-t", chain.table, "-S", chain.name, *number)
        start = b"-A %s " % chain.name
        if number:
            return [run.output] if run.output.startswith(start) else [], run.failure
        return _joined(run.output.splitlines(keepends=True), start), run.failure


def _is_odd(line: bytes) -> bool:
    """Return True if a quoted text begins or ends in the line. The tools escape quotes and backslashes in it."""
    return b'"' in line and _ESCAPED.sub(b"", line).count(b'"') % 2 == 1


def _joined(lines: list[bytes], start: bytes) -> list[bytes]:
    """Return the records that begin with `start`; lines that do not are what a newline in a comment divides."""
    found: list[bytes] = []
    for line in lines:
        if line.startswith(start):
            found.append(line)
        elif found:
            found[-1] += line
    return found


def _rules_by_chain(output: bytes) -> Counter[tuple[bytes, bytes]]:
    """Return the number of rules that a save tool printed, by table and chain."""
    found: Counter[tuple[bytes, bytes]] = Counter()
    table, inside = b"", False  # of a quoted text that a newline divides
    for line in output.split(b"\n"):
        if line.startswith(b"*") and not inside:
            table = line[1:]
        before, dash, rest = line.partition(b"-A ")
        rule = dash and (not before or before.startswith(b"["))
        if rule and not inside:
            found[table, rest.partition(b" ")[0]] += 1
        if rule or inside:
            inside ^= _is_odd(line)
    return found


def save(program: str, family: str) -> None:
    """Write the rules of the family to stdout; nothing if there is none in a table of the tool."""
    one = _Save(program, family)
    one.all()
    if not one.parts:
        return
    handles: dict[str, Any] = {}
    for chain, own in one.handles.items():
        table = {"handle": one.tables[chain.family, chain.table], "chains": {}}
        handles.setdefault(_text(chain.table), table)["chains"][_text(chain.name)] = own
    write_report({"handles": handles, "failures": one.failures}, b"".join(one.parts))


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
