"""The rules that exist, by chain and handle, from raw nf_tables dumps (linux/netfilter/nf_tables.h).

Handles are never reused in a table, nor those of tables in a namespace. So a chain that has the same handles before and
after a tool has run is the chain that the tool printed, whatever changed elsewhere.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from nettop.broker.reads import DUMP, REQUEST, answers, nfgenmsg
from nettop.broker.reads import message as netlink_message
from nettop.linux import netlink as nl
from nettop.linux import nf_tables as nft
from nettop.linux.nfnetlink import NFGEN_LENGTH, NFNL_SUBSYS_NFTABLES, NFPROTO_NAMES, NFPROTO_NUMBERS

_TIMEOUT_S = 5.0
_BODY = nl.NLMSG_HDRLEN + NFGEN_LENGTH
_EXTENSIONS = (b"match\0", b"target\0")  # names of expressions
XTABLES = frozenset({b"filter", b"nat", b"mangle", b"raw", b"security", b"broute"})  # the tables of all xtables tools
_XTABLES_CHAINS = frozenset({b"PREROUTING", b"INPUT", b"FORWARD", b"OUTPUT", b"POSTROUTING", b"BROUTING"})


class ChainName(NamedTuple):
    """The name of a chain: family, table, chain, as bytes."""

    family: str
    table: bytes
    name: bytes


class Rule(NamedTuple):
    """A rule: its handle, and whether it has a match or target of xtables, which only iptables can print."""

    handle: int
    extends: bool


@dataclass(slots=True)
class Inventory:
    """The tables with their handles, the chains, and the rules of each chain, in order."""

    tables: dict[tuple[str, bytes], int] = field(default_factory=dict)
    chains: dict[ChainName, list[Rule]] = field(default_factory=dict)
    with_policy: set[ChainName] = field(default_factory=set)  # user chains that have a policy of ebtables-nft

    def same(self, other: Inventory, chain: ChainName) -> bool:
        """Return True if the chain, its table and its rules are the same in both."""
        own, theirs = self.chains.get(chain), other.chains.get(chain)
        table = chain.family, chain.table
        return own is not None and own == theirs and self.tables.get(table) == other.tables.get(table)


class Kernel:
    """A netlink socket in the current namespace."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, nl.NETLINK_NETFILTER)
        self._socket.settimeout(_TIMEOUT_S)
        self._sequence = count(1)

    def inventory(self, family: str = "") -> Inventory:
        """Return what exists, of one family or of all. Raises OSError and MalformedError."""
        found = Inventory(self.tables(family), {chain: [] for chain in self._chains(family)})
        for of, one in self._ask(nft.NFT_MSG_GETRULE, family):
            chain = ChainName(of, _name(one, nft.NFTA_RULE_TABLE), _name(one, nft.NFTA_RULE_CHAIN))
            if _is_policy(of, one.raw(nft.NFTA_RULE_USERDATA)):
                found.with_policy.add(chain)
            else:
                found.chains.setdefault(chain, []).append(_rule(one))
        return found

    def tables(self, family: str = "") -> dict[tuple[str, bytes], int]:
        """Return the handles of the tables, of one family or of all. Raises OSError and MalformedError."""
        return {
            (of, _name(table, nft.NFTA_TABLE_NAME)): table.number(nft.NFTA_TABLE_HANDLE) or 0
            for of, table in self._ask(nft.NFT_MSG_GETTABLE, family)
        }

    def native_tables(self) -> list[tuple[str, bytes]]:
        """Return the tables that no xtables tool made, by the names of chains, or that have flowtables.

        Raises OSError and MalformedError.
        """
        made = {chain[:2] for chain in self._chains() if chain.table in XTABLES and chain.name in _XTABLES_CHAINS}
        made -= {(of, _name(one, nft.NFTA_FLOWTABLE_TABLE)) for of, one in self._ask(nft.NFT_MSG_GETFLOWTABLE)}
        return [table for table in self.tables() if table not in made]

    def _chains(self, family: str = "") -> Iterator[ChainName]:
        for of, one in self._ask(nft.NFT_MSG_GETCHAIN, family):
            yield ChainName(of, _name(one, nft.NFTA_CHAIN_TABLE), _name(one, nft.NFTA_CHAIN_NAME))

    def generation(self) -> int:
        """Return the id of the ruleset's generation, 0 if there is none. Raises OSError and MalformedError."""
        return next((one.number(nft.NFTA_GEN_ID) or 0 for _, one in self._ask(nft.NFT_MSG_GETGEN, flags=REQUEST)), 0)

    def _ask(self, message: int, family: str = "", flags: int = DUMP) -> Iterator[tuple[str, nl.Attributes]]:
        kind, body = NFNL_SUBSYS_NFTABLES << 8 | message, nfgenmsg(NFPROTO_NUMBERS.get(family, 0))
        for got, data, at, end in answers(self._socket, netlink_message(kind, flags, next(self._sequence), body)):
            if got != nl.NLMSG_ERROR:
                of = data[at + nl.NLMSG_HDRLEN]
                yield NFPROTO_NAMES.get(of, str(of)), nl.Attributes(data, at + _BODY, end)


def _name(attributes: nl.Attributes, kind: int) -> bytes:
    return attributes.raw(kind).split(b"\0", 1)[0]


def _rule(one: nl.Attributes) -> Rule:
    expressions = one.raw(nft.NFTA_RULE_EXPRESSIONS)
    return Rule(one.number(nft.NFTA_RULE_HANDLE) or 0, any(name in expressions for name in _EXTENSIONS))


def _is_policy(family: str, user_data: bytes) -> bool:
    """Return True for the rule that ebtables-nft makes of a user chain's policy and does not print as a rule."""
    return family == "bridge" and user_data[:1] == bytes([nft.UDATA_TYPE_EBTABLES_POLICY])
