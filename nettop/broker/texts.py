"""The text snapshots that a child makes: the tool for each kind, its rights, and a check for cut output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from nettop.broker import processes
from nettop.broker.children import execute, find_tool
from nettop.broker.identity import NOBODY
from nettop.broker.privileges import DAC_READ_SEARCH, NET_ADMIN, NET_RAW, SYS_PTRACE
from nettop.broker.rules.listing import list_ruleset
from nettop.broker.rules.save import save
from nettop.kinds import TextKind

SECONDS = 15.0
_ROOT_GROUP = 0  # /proc/net/ip_tables_names is readable for root's group (mode 0440)


@dataclass(frozen=True, slots=True)
class Tool:
    """The way a child makes one kind of text."""

    run: Callable[[], None]
    capabilities: frozenset[int] = frozenset({NET_ADMIN})
    gid: int = NOBODY


def _legacy_saver(program: str, names: str) -> Callable[[], None]:
    def run() -> None:
        # Listing a legacy table creates it: run the tool only if one exists already.
        if _table_names(names):
            execute(find_tool(program), "-c")

    return run


def _table_names(names: str) -> str:
    try:
        with open(f"/proc/thread-self/net/{names}", encoding="ascii") as lines:
            return lines.read().strip()
    except FileNotFoundError:
        return ""


_IPTABLES_RIGHTS = frozenset({NET_ADMIN, NET_RAW})  # NET_RAW: for the names of sets (`-m set`)
_PROC_RIGHTS = frozenset({SYS_PTRACE, DAC_READ_SEARCH})  # to read every process's descriptors; sock_diag needs none


def _saver(program: str, family: str) -> Tool:
    return Tool(partial(save, program, family), _IPTABLES_RIGHTS)


def _legacy(program: str, names: str) -> Tool:
    return Tool(_legacy_saver(program, names), _IPTABLES_RIGHTS, _ROOT_GROUP)


TOOLS: dict[TextKind, Tool] = {
    TextKind.NFT_RULESET: Tool(list_ruleset),
    TextKind.IPTABLES_SAVE: _saver("iptables-nft", "ip"),
    TextKind.IP6TABLES_SAVE: _saver("ip6tables-nft", "ip6"),
    TextKind.ARPTABLES_SAVE: _saver("arptables-nft", "arp"),
    TextKind.EBTABLES_SAVE: _saver("ebtables-nft", "bridge"),
    TextKind.IPTABLES_LEGACY_SAVE: _legacy("iptables-legacy-save", "ip_tables_names"),
    TextKind.IP6TABLES_LEGACY_SAVE: _legacy("ip6tables-legacy-save", "ip6_tables_names"),
    TextKind.ARPTABLES_LEGACY_SAVE: _legacy("arptables-legacy-save", "arp_tables_names"),
    TextKind.PROCESSES: Tool(processes.list_processes, _PROC_RIGHTS),
}
