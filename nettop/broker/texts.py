"""The text snapshots that a child makes: the tool for each kind, its rights, and a check for cut output."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from nettop.broker import processes
from nettop.broker.children import execute, find_tool, write_out
from nettop.broker.identity import NOBODY
from nettop.broker.privileges import DAC_READ_SEARCH, NET_ADMIN, NET_RAW, SYS_PTRACE
from nettop.errors import BrokerError
from nettop.kinds import TextKind

SECONDS = 15.0  # one listing of 20,000 rules under continuous commits did not finish within this
# The official binding where Debian and Ubuntu put it; a venv does not see it, loading it by path works.
_BINDING_PATHS = ("/usr/lib/python3/dist-packages/nftables/__init__.py",)
_LIST_RULESET = b"list ruleset"
_ROOT_GROUP = 0  # /proc/net/ip_tables_names is readable for root's group (mode 0440)


@dataclass(frozen=True, slots=True)
class Tool:
    """The way a child makes one kind of text."""

    run: Callable[[], None]
    capabilities: frozenset[int] = frozenset({NET_ADMIN})
    gid: int = NOBODY


def list_ruleset() -> None:
    """Write `nft -a -t list ruleset` to stdout, as bytes: by libnftables, else by the nft program."""
    try:
        nft = _binding().Nftables()
    except (ImportError, OSError, AttributeError):
        execute(find_tool("nft"), "-a", "-t", "list", "ruleset")
        return
    nft.set_handle_output(True)
    nft.nft_ctx_output_set_flags(nft._Nftables__ctx, nft.output_flags["handle"] | nft.output_flags["terse"])
    write_out(_run(nft))


def _run(nft: Any) -> bytes:
    # Not .cmd(): it decodes strict UTF-8, and a comment may hold any bytes.
    context = nft._Nftables__ctx
    result = nft.nft_run_cmd_from_buffer(context, _LIST_RULESET)
    text: bytes = nft.nft_ctx_get_output_buffer(context) or b""
    if result != 0:
        message: bytes = nft.nft_ctx_get_error_buffer(context) or b""
        raise BrokerError(f"libnftables: {message.decode(errors='replace').strip() or result}")
    if text and not text.endswith(b"}\n"):
        raise BrokerError("libnftables gave a cut listing")
    return text


def _binding() -> ModuleType:
    for path in _BINDING_PATHS:
        folder = os.path.dirname(path)
        spec = importlib.util.spec_from_file_location("nftables", path, submodule_search_locations=[folder])
        if spec and spec.loader and os.path.exists(path):
            module = importlib.util.module_from_spec(spec)
            sys.modules["nftables"] = module
            spec.loader.exec_module(module)
            return module
    raise ImportError("nftables")


def _saver(program: str, names: str = "") -> Callable[[], None]:
    def run() -> None:
        # Listing a legacy table creates it: run the tool only if one exists already.
        if not names or _table_names(names):
            execute(find_tool(program), "-c")

    return run


def _table_names(names: str) -> str:
    try:
        with open(f"/proc/thread-self/net/{names}", encoding="ascii") as lines:
            return lines.read().strip()
    except FileNotFoundError:
        return ""


_LEGACY_RIGHTS = frozenset({NET_ADMIN, NET_RAW})
_PROC_RIGHTS = frozenset({SYS_PTRACE, DAC_READ_SEARCH})  # to read every process's descriptors; sock_diag needs none

TOOLS: dict[TextKind, Tool] = {
    TextKind.NFT_RULESET: Tool(list_ruleset),
    TextKind.IPTABLES_SAVE: Tool(_saver("iptables-nft-save")),
    TextKind.IP6TABLES_SAVE: Tool(_saver("ip6tables-nft-save")),
    TextKind.IPTABLES_LEGACY_SAVE: Tool(_saver("iptables-legacy-save", "ip_tables_names"), _LEGACY_RIGHTS, _ROOT_GROUP),
    TextKind.IP6TABLES_LEGACY_SAVE: Tool(
        _saver("ip6tables-legacy-save", "ip6_tables_names"), _LEGACY_RIGHTS, _ROOT_GROUP
    ),
    TextKind.PROCESSES: Tool(processes.list_processes, _PROC_RIGHTS),
}
