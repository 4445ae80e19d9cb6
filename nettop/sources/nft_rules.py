"""A source of the rules of nf_tables, which reads those of single tables after a commit, and the commits' events."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

from nettop.batch import Batch
from nettop.broker.requests import ReadRequest, RuleName, TableName
from nettop.linux import nf_tables as nft
from nettop.linux.netlink import NLMSG_HDRLEN, Attributes, MalformedError, messages
from nettop.linux.nfnetlink import NFGEN_LENGTH, NFNL_SUBSYS_NFTABLES, NFPROTO_NAMES, NFPROTO_NUMBERS
from nettop.sources.dumps import DumpSource
from nettop.sources.exchange import Round, ScopedRead
from nettop.sources.netlink import ALL_PARTS

ALL_RULES = Round("nft-rules", (ReadRequest.NFT_RULES,))
SHOWN_RULES = "nft-rules *"  # DumpMark.what: those on screen, for their counters only
_POLICIES = "nft-chains"
_MAX_TABLES = 4  # that are read one by one: a dump of all costs little more
_MAX_SHOWN = 200
_ALL_NS = 5_000_000_000  # between two dumps of all rules while those on screen are read
_MAX_BYTES = 64 << 10  # of events in which the tables are looked for
_BODY = NLMSG_HDRLEN + NFGEN_LENGTH
_NEWGEN = NFNL_SUBSYS_NFTABLES << 8 | nft.NFT_MSG_NEWGEN  # the last message of every commit
_OF_RULES = (nft.NFT_MSG_NEWTABLE, nft.NFT_MSG_DELTABLE, nft.NFT_MSG_NEWRULE, nft.NFT_MSG_DELRULE)


class NftRuleDump(DumpSource):
    """The stream "nft". Its parts are tables (`inet fw`); besides their rules all that is no rule is read.

    Where all rules cost too much to be read at each interval, those on screen are, and all of them every few seconds.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._shown: Round | None = None
        self._shown_ns = 0  # when they were read last

    def show(self, rules: Sequence[tuple[str, str, str, int]]) -> bool:
        """Set the rules on screen (family, table, chain, handle); return whether they are others. Thread-safe."""
        shown = rules[:_MAX_SHOWN]
        names = tuple(RuleName(NFPROTO_NUMBERS[family], table, chain, handle) for family, table, chain, handle in shown)
        read = ScopedRead(ReadRequest.NFT_RULE, of=names)
        before, self._shown = self._shown, Round(SHOWN_RULES, (read,)) if names else None
        return before != self._shown

    @property
    def cost_ns(self) -> int:
        """The cost of a change: that of its tables is small, but what is read is joined with all others."""
        return super().cost_ns // 2

    def due_ns(self) -> int | None:
        """Return the time of the next request, or of its timeout."""
        due = super().due_ns()
        return due if due is None or self._exchange.active or self._todo else min(due, self._shown_due_ns())

    def _start_turn(self) -> None:
        super()._start_turn()
        if not self._todo and self._shown is not None and time.monotonic_ns() >= self._shown_due_ns():
            self._shown_ns = time.monotonic_ns()
            policies = [one for one in self._polled if one.what == _POLICIES]
            self._begin_turn([*self._rested(policies), self._shown], of_parts=True)

    def _turn_ns(self) -> int:
        least_ns = self._began_ns + _ALL_NS if self._is_costly() else 0
        return max(super()._turn_ns(), least_ns)

    def _shown_due_ns(self) -> int:
        if not self._is_costly():
            return sys.maxsize
        return max(self._began_ns, self._shown_ns) + (self._interval_ns or 0)

    def _is_costly(self) -> bool:
        return self._shown is not None and self._stretched_ns > (self._interval_ns or 0)

    def _retries(self, current: Round) -> int:
        """Return no retry for rules on screen, of which some may be gone, and while their counters are read apart."""
        return 0 if current.what == SHOWN_RULES or self._is_costly() else super()._retries(current)

    def _rounds_of(self, parts: Collection[str]) -> Sequence[Round]:
        names = [(part, *part.partition(" ")[::2]) for part in sorted(parts)]
        if len(names) > _MAX_TABLES or any(family not in NFPROTO_NUMBERS for _, family, _ in names):
            return self._rounds
        tables = [_rules_of(*name) for name in names]
        return [one for known in self._rounds for one in (tables if known == ALL_RULES else (known,))]


def _rules_of(part: str, family: str, table: str) -> Round:
    name = TableName(NFPROTO_NUMBERS[family], table)
    return Round(f"{ALL_RULES.what} {part}", (ScopedRead(ReadRequest.NFT_RULES, of_table=name),))


def commits(batch: Batch) -> bool:
    """Return whether a batch of nftables events has an NFT_MSG_NEWGEN, the only message in its datagram."""
    words = np.frombuffer(batch.buf, np.uint16)
    whole = batch.off[batch.caplen >= NLMSG_HDRLEN]  # struct nlmsghdr; nlmsg_type at byte 4
    return bool(np.any(words[(whole >> 1) + 2] == _NEWGEN))


def changed_tables(batch: Batch) -> frozenset[str]:
    """Return the tables whose rules a batch of nftables events adds, replaces or deletes; ALL_PARTS: any may be."""
    if len(batch.buf) > _MAX_BYTES:
        return ALL_PARTS
    try:
        return frozenset(table for at in range(len(batch)) for table in _tables(batch.record(at)))
    except (MalformedError, KeyError):
        return ALL_PARTS


def _tables(datagram: bytes) -> Iterator[str]:
    """Yield the tables; NFTA_TABLE_NAME and NFTA_RULE_TABLE are the same number (linux/netfilter/nf_tables.h)."""
    for kind, at, end in messages(datagram):
        if kind >> 8 == NFNL_SUBSYS_NFTABLES and kind & 0xFF in _OF_RULES:
            found = Attributes(datagram, at + _BODY, end)
            yield f"{NFPROTO_NAMES[datagram[at + NLMSG_HDRLEN]]} {found.text(nft.NFTA_RULE_TABLE)}"
