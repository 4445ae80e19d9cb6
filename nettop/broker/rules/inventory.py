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

from nettop.linux import nf_tables as nft
from nettop.linux.netlink import (
    NETLINK_NETFILTER,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSG_HDRLEN,
    NLMSGHDR,
    Attributes,
    messages,
)
from nettop.linux.nfnetlink import NFGEN_LENGTH, NFGENMSG, NFNL_SUBSYS_NFTABLES, NFPROTO_NAMES, NFPROTO_NUMBERS

_RECEIVE = 1 << 20  # bytes: larger than any datagram of a dump
_TIMEOUT_S = 5.0
_BODY = NLMSG_HDRLEN + NFGEN_LENGTH
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

    def same(self, other: Inventory, chain: ChainName) -> bool:
        """Return True if the chain, its table and its rules are the same in both."""
        own, theirs = self.chains.get(chain), other.chains.get(chain)
        table = chain.family, chain.table
        return own is not None and own == theirs and self.tables.get(table) == other.tables.get(table)


class Kernel:
    """A netlink socket in the current namespace."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self._socket.settimeout(_TIMEOUT_S)
        self._sequence = count(1)

    def inventory(self, family: str = "") -> Inventory:
        """Return what exists, of one family or of all. Raises OSError and MalformedError."""
        found = Inventory(self.tables(family), {chain: [] for chain in self._chains(family)})
        for of, one in self._dump(nft.NFT_MSG_GETRULE, family):
            chain = ChainName(of, _name(one, nft.NFTA_RULE_TABLE), _name(one, nft.NFTA_RULE_CHAIN))
            if not _is_policy(of, one.raw(nft.NFTA_RULE_USERDATA)):
                found.chains.setdefault(chain, []).append(_rule(one))
        return found

    def tables(self, family: str = "") -> dict[tuple[str, bytes], int]:
        """Return the handles of the tables, of one family or of all. Raises OSError and MalformedError."""
        return {
            (of, _name(table, nft.NFTA_TABLE_NAME)): table.number(nft.NFTA_TABLE_HANDLE) or 0
            for of, table in self._dump(nft.NFT_MSG_GETTABLE, family)
        }

    def native_tables(self) -> list[tuple[str, bytes]]:
        """Return the tables that no xtables tool made, by the names of chains, or that have flowtables.

        Raises OSError and MalformedError.
        """
        made = {chain[:2] for chain in self._chains() if chain.table in XTABLES and chain.name in _XTABLES_CHAINS}
        made -= {(of, _name(one, nft.NFTA_FLOWTABLE_TABLE)) for of, one in self._dump(nft.NFT_MSG_GETFLOWTABLE, "")}
        return [table for table in self.tables() if table not in made]

    def _chains(self, family: str = "") -> Iterator[ChainName]:
        for of, one in self._dump(nft.NFT_MSG_GETCHAIN, family):
            yield ChainName(of, _name(one, nft.NFTA_CHAIN_TABLE), _name(one, nft.NFTA_CHAIN_NAME))

    def generation(self) -> int:
        """Return the id of the ruleset's generation, 0 if there is none. Raises OSError and MalformedError."""
        return next(
            (one.number(nft.NFTA_GEN_ID) or 0 for _, one in self._ask(nft.NFT_MSG_GETGEN, "", NLM_F_REQUEST)), 0
        )

    def _dump(self, message: int, family: str) -> Iterator[tuple[str, Attributes]]:
        return self._ask(message, family, NLM_F_REQUEST | NLM_F_DUMP)

    def _ask(self, message: int, family: str, flags: int) -> Iterator[tuple[str, Attributes]]:
        number = NFPROTO_NUMBERS.get(family, 0)
        body, sequence = NFGENMSG.pack(number, 0, 0), next(self._sequence)
        kind = NFNL_SUBSYS_NFTABLES << 8 | message
        self._socket.send(NLMSGHDR.pack(NLMSGHDR.size + len(body), kind, flags, sequence, 0) + body)
        while True:
            data = self._socket.recv(_RECEIVE)
            for got, at, end in messages(data):
                if NLMSGHDR.unpack_from(data, at)[3] != sequence:
                    continue
                if got in (NLMSG_DONE, NLMSG_ERROR):
                    return
                of = data[at + NLMSG_HDRLEN]
                yield NFPROTO_NAMES.get(of, str(of)), Attributes(data, at + _BODY, end)
            if not flags & NLM_F_DUMP:
                return


def _name(attributes: Attributes, kind: int) -> bytes:
    return attributes.raw(kind).split(b"\0", 1)[0]


def _rule(one: Attributes) -> Rule:
    expressions = one.raw(nft.NFTA_RULE_EXPRESSIONS)
    return Rule(one.number(nft.NFTA_RULE_HANDLE) or 0, any(name in expressions for name in _EXTENSIONS))


def _is_policy(family: str, user_data: bytes) -> bool:
    """Return True for the rule that ebtables-nft makes of a user chain's policy and does not print as a rule."""
    return family == "bridge" and user_data[:1] == bytes([nft.UDATA_TYPE_EBTABLES_POLICY])
