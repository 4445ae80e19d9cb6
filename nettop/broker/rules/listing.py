"""The listing of nft, `nft -a -t list ruleset`; where that fails, of each table, and then of each chain.

nft 1.0.6 crashes on some rules of iptables, such as `hashlimit` with `--hashlimit-rate-match` of ip6tables.
"""

from __future__ import annotations

import re

from nettop.broker.rules.inventory import ChainName, Inventory, Kernel
from nettop.broker.rules.report import write_report
from nettop.broker.rules.tool import UNSETTLED, Runner, ToolResult

SECONDS = 12.0
# The names that nft reads as one word: others would be read as more of the command.
_WORD = re.compile(rb"[A-Za-z][A-Za-z0-9/\\_.-]*")
_TABLE_LINE = re.compile(rb"^(table \S+ \S+ \{)$", re.MULTILINE)


class _Listing:
    def __init__(self) -> None:
        self.kernel = Kernel()
        self.runner = Runner(SECONDS, self.kernel.generation)
        self.failures: list[str] = []
        self.unsettled = False  # changes come faster than all of it can be listed, so only small parts can

    def ruleset(self) -> bytes:
        whole = self._list("ruleset")
        if not whole.failure:
            return whole.output
        self.failures.append(whole.failure)
        self.unsettled = whole.failure == UNSETTLED
        before = self.kernel.inventory()
        tables = [table for table in before.tables if _WORD.fullmatch(table[1])]
        return b"".join(self._table(before, *table) for table in tables if not self.runner.is_over)

    def _table(self, before: Inventory, family: str, name: bytes) -> bytes:
        if not self.unsettled:
            whole = self._list("table", family, name)
            if not whole.failure:
                return whole.output
        chains = [chain for chain in before.chains if (chain.family, chain.table) == (family, name)]
        return b"".join(self._chain(before.tables[family, name], chain) for chain in chains)

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


def list_ruleset() -> None:
    """Write the listing to stdout, after a line that names what failed, if anything did."""
    listing = _Listing()
    body = listing.ruleset()
    write_report({"failures": listing.failures} if listing.failures else {}, body)
