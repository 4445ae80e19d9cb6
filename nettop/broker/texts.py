"""The text snapshots: those of procfs, and for those that a child makes the tool and its rights."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

from nettop.broker import statistics, sysctls
from nettop.broker.children import execute, find_tool
from nettop.broker.identity import NOBODY
from nettop.broker.privileges import DAC_READ_SEARCH, NET_ADMIN, NET_RAW, SYS_ADMIN, SYS_PTRACE
from nettop.broker.processes.listing import list_processes
from nettop.broker.rules import arptables_legacy
from nettop.broker.rules.listing import list_ruleset
from nettop.broker.rules.save import save
from nettop.broker.topology import features, programs
from nettop.broker.topology.listing import list_namespaces
from nettop.kinds import TextKind

SECONDS = 15.0
_ROOT_GROUP = 0  # /proc/net/ip_tables_names is readable for root's group (mode 0440)


@dataclass(frozen=True, slots=True)
class Tool:
    """The way a child makes one kind of text."""

    run: Callable[..., None]  # without arguments, or with GetText.part
    capabilities: frozenset[int] = frozenset({NET_ADMIN})
    gid: int = NOBODY
    of_host: bool = False  # made where the broker was started
    names: str = ""  # the file below /proc/net that names its tables; without any there is no text


def has_tables(names: str) -> bool:
    """Return whether there is a legacy table: listing one creates it. True: also if that may not be read here."""
    try:
        with open(f"/proc/thread-self/net/{names}", encoding="ascii") as lines:
            return bool(lines.read().strip())
    except FileNotFoundError:
        return False
    except PermissionError:
        return True  # the tool says so


_IPTABLES_RIGHTS = frozenset({NET_ADMIN, NET_RAW})  # NET_RAW: for the names of sets (`-m set`)
_PROC_RIGHTS = frozenset({SYS_PTRACE, DAC_READ_SEARCH})  # to read every process's descriptors; sock_diag needs none


def _saver(program: str, family: str) -> Tool:
    return Tool(partial(save, program, family), _IPTABLES_RIGHTS)


def _legacy(names: str, run: Callable[[], None]) -> Tool:
    return Tool(run, _IPTABLES_RIGHTS, _ROOT_GROUP, names=names)


def _legacy_save(program: str) -> Callable[[], None]:
    return lambda: execute(find_tool(program), "-c")


TOOLS: dict[TextKind, Tool] = {
    TextKind.NFT_RULESET: Tool(list_ruleset),
    TextKind.IPTABLES_SAVE: _saver("iptables-nft", "ip"),
    TextKind.IP6TABLES_SAVE: _saver("ip6tables-nft", "ip6"),
    TextKind.ARPTABLES_SAVE: _saver("arptables-nft", "arp"),
    TextKind.EBTABLES_SAVE: _saver("ebtables-nft", "bridge"),
    TextKind.IPTABLES_LEGACY_SAVE: _legacy("ip_tables_names", _legacy_save("iptables-legacy-save")),
    TextKind.IP6TABLES_LEGACY_SAVE: _legacy("ip6_tables_names", _legacy_save("ip6tables-legacy-save")),
    TextKind.ARPTABLES_LEGACY_SAVE: _legacy("arp_tables_names", arptables_legacy.save),
    TextKind.PROCESSES: Tool(list_processes, _PROC_RIGHTS),
}


def namespaces(left_out: Collection[int]) -> Tool:
    """Return the tool of TextKind.NAMESPACES, which does not count these processes."""
    return Tool(partial(list_namespaces, left_out), _PROC_RIGHTS | {SYS_ADMIN}, of_host=True)


# Short reads of procfs that cannot hang: they need no child.
PROC: dict[TextKind, Callable[[], bytes]] = {
    TextKind.SYSCTLS: sysctls.listing,
    TextKind.MAP_SYSCTLS: lambda: sysctls.map_listing() + features.listing() + programs.listing(),
    TextKind.NET_STATISTICS: statistics.listing,
}
