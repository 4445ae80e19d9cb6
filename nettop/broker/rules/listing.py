"""The listing of nft, `nft -a -t list ruleset`; where that fails, of each table, and then of each chain.

nft 1.0.6 crashes on some rules of iptables, such as `hashlimit` with `--hashlimit-rate-match` of ip6tables.
"""

from __future__ import annotations

import re
from functools import cached_property

from nettop.broker.rules.inventory import ChainName, Inventory, Kernel
from nettop.broker.rules.report import write_report
from nettop.broker.rules.tool import UNSETTLED, Runner, ToolResult
from nettop.kinds import NATIVE

SECONDS = 12.0
_MAX_RUNS = 8  # of nft, instead of one that lists all: each starts in 4 ms
# The names that nft reads as one word: others would be read as more of the command.
_WORD = re.compile(rb"[A-Za-z][A-Za-z0-9/\\_.-]*")
_TABLE_LINE = re.compile(rb"^(table \S+ \S+ \{)$", re.MULTILINE)


class _Listing:
    def __init__(self) -> None:
        self.kernel = Kernel()
        self.runner = Runner(SECONDS, self.kernel.generation)
        self.failures: list[str] = []
        self.unsettled = False  # changes come faster than all of it can be listed, so only small parts can

    @cached_property
    def before(self) -> Inventory:
        """All chains before they are listed one by one."""
        return self.kernel.inventory()

    def ruleset(self) -> bytes:
        whole = self._list("ruleset")
        if not whole.failure:
            return whole.output
        self._failed(whole.failure)
        return b"".join(self.table(*table) for table in self.before.tables if _WORD.fullmatch(table[1]))

    def native(self) -> bytes:
        tables = self.kernel.native_tables()
        if len(tables) > _MAX_RUNS or not all(_WORD.fullmatch(name) for _, name in tables):
            return self.ruleset()
        return b"".join(self.table(*table) for table in tables)

    def table(self, family: str, name: bytes) -> bytes:
        if self.runner.is_over:
            return b""
        if not self.unsettled:
            whole = self._list("table", family, name)
            if not whole.failure:
                return whole.output
            if (family, name) not in self.before.tables:
                return b""  # it was deleted meanwhile
            self._failed(whole.failure)
        chains = [chain for chain in self.before.chains if (chain.family, chain.table) == (family, name)]
        return b"".join(self._chain(self.before.tables[family, name], chain) for chain in chains)

    def _failed(self, failure: str) -> None:
        self.failures = self.failures or [failure]
        self.unsettled = self.unsettled or failure == UNSETTLED

    def _chain(self, handle: int, chain: ChainName) -> bytes:
        """Return the chain in its table; the table's line has no handle here."""
        if self.runner.is_over or not _WORD.fullmatch(chain.name):
            return b""
        found = self._list("chain", *chain)
        if found.failure or self.kernel.tables(chain.family).get((chain.family, chain.table)) != handle:
            return b""
        return _TABLE_LINE.sub(rb"\1 # handle %d" % handle, found.output, count=1)

    def _list(self, *what: str | bytes) -> ToolResult:
        run = self.runner.run("nft", "-a", "-t", "list", *what)
        if not run.failure and run.output and not run.output.endswith(b"}\n"):
            return ToolResult(run.output, "nft: the listing is incomplete")
        return run


def list_ruleset(part: str = "") -> None:
    """Write the listing, or a part of it, to stdout, after a line that says what failed and which table it is of."""
    listing, report = _Listing(), dict[str, object]()
    family, _, name = part.partition(" ")
    if part == NATIVE:
        body = listing.native()
    elif _WORD.fullmatch(name.encode()):
        body, report["part"] = listing.table(family, name.encode()), part
    else:
        body = listing.ruleset()
    if listing.failures:
        report["failures"] = listing.failures
    write_report(report, body)
