"""Raw nf_tables messages, dumped or announced, to tables, chains, rules, objects and generations.

A rule dump repeats itself but for its counters, so each datagram is remembered with those bytes wiped: when the next
one is the same underneath, only the counters are read (linux/netfilter/nf_tables.h; 10,000 rules are 5.8 MB a dump).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Batch, NetlinkMeta
from nettop.columns import DecodeErrors
from nettop.decode.netlink import ErrorRows
from nettop.decode.nftables.objects import (
    Generation,
    NftChain,
    NftObject,
    NftTable,
    decode_chain,
    decode_generation,
    decode_object,
    decode_table,
    family_word,
)
from nettop.decode.nftables.rules import NftRule, Places, decode_rule
from nettop.linux import nf_tables as nft
from nettop.linux.netlink import (
    ERR_VALUE_SHORT,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSG_HDRLEN,
    NLMSGHDR,
    Attributes,
    MalformedError,
    messages,
)
from nettop.linux.nfnetlink import NFGEN_LENGTH, NFNL_SUBSYS_NFTABLES

_BODY = NLMSG_HDRLEN + NFGEN_LENGTH
_RULE_TYPE = NFNL_SUBSYS_NFTABLES << 8 | nft.NFT_MSG_NEWRULE
_MOST_OBJECTS = 50_000  # remembered
_CACHE_LIMIT = 64 << 20  # bytes of remembered datagrams: about 100,000 rules


@dataclass(frozen=True, slots=True)
class RuleBlock:
    """The rules of one datagram, in dump order. While their layout is the same, `rules` is the same object.

    `packets`, `bytes` (uint64) are of the last counter expression of each rule: the one nearest to its verdict.
    """

    rules: tuple[NftRule, ...]
    counted: NDArray[np.bool_]
    packets: NDArray[np.uint64]
    bytes: NDArray[np.uint64]


@dataclass(slots=True)
class NftDecoded:
    """The content of one batch."""

    stream: int
    seq: int
    tables: list[NftTable] = field(default_factory=list)
    chains: list[NftChain] = field(default_factory=list)
    blocks: list[RuleBlock] = field(default_factory=list)
    objects: list[NftObject] = field(default_factory=list)
    generations: list[Generation] = field(default_factory=list)
    refused: int = 0  # NLMSG_ERROR answers
    errors: DecodeErrors = field(default_factory=DecodeErrors.none)

    @property
    def rules(self) -> list[NftRule]:
        """The rules of all blocks, in order."""
        return [rule for block in self.blocks for rule in block.rules]


@dataclass(frozen=True, slots=True)
class _Layout:
    wiped: bytes  # the datagram with all that moves set to zero
    wipe: NDArray[np.int64]  # indices of its 16-bit halves that move
    rules: tuple[NftRule, ...]
    counted: NDArray[np.bool_]
    octets_at: NDArray[np.int64]  # index of the 32-bit word at which each rule's value begins; 0 where not counted
    packets_at: NDArray[np.int64]
    ends: bool  # NLMSG_DONE is in it


def _wide(words: NDArray[np.uint32], at: NDArray[np.int64]) -> NDArray[np.uint64]:
    return words[at].astype(np.uint64) << np.uint64(32) | words[at + 1]


def _block(data: bytes, layout: _Layout) -> RuleBlock:
    words = np.frombuffer(data, dtype=">u4", count=len(data) // 4)
    octets = np.where(layout.counted, _wide(words, layout.octets_at), np.uint64(0))
    packets = np.where(layout.counted, _wide(words, layout.packets_at), np.uint64(0))
    return RuleBlock(layout.rules, layout.counted, packets, octets)


def _wiped(data: bytes, wipe: NDArray[np.int64]) -> bytes:
    copy = bytearray(data)
    np.frombuffer(copy, dtype=np.uint16, count=len(copy) // 2)[wipe] = 0
    return bytes(copy)


def _halves(found: _Found) -> NDArray[np.int64]:
    """The 16-bit halves that move: seq, portid and generation of each message, its counters, quotas and last uses."""
    moving = [(at + 8, at + 16) for at in found.heads] + [(at + 18, at + 20) for at in found.heads]
    for spot in found.places:
        moving += [(at, at + 8) for pair in spot.counters for at in pair] + spot.volatile
    halves = [half for first, last in moving for half in range(first // 2, last // 2)]
    return np.array(halves, dtype=np.int64)


def _layout(data: bytes, found: _Found) -> _Layout:
    wipe = _halves(found)
    at = [spot.counters[-1] if spot.counters else (0, 0) for spot in found.places]
    words = np.array(at, dtype=np.int64).reshape(-1, 2) // 4
    counted = np.array([bool(spot.counters) for spot in found.places], dtype=np.bool_)
    ends = NLMSGHDR.unpack_from(data, found.heads[-1])[1] == NLMSG_DONE
    return _Layout(_wiped(data, wipe), wipe, tuple(found.rules), counted, words[:, 0], words[:, 1], ends)


def _key(data: bytes) -> bytes | None:
    """Return the key of a datagram of rules: its first rule's table, chain and handle, and its length."""
    if len(data) < 24 or len(data) % 4 or NLMSGHDR.unpack_from(data)[1] != _RULE_TYPE:
        return None
    at = 20
    for _ in range(3):
        if at + 4 > len(data):
            return None
        at += int.from_bytes(data[at : at + 2], sys.byteorder) + 3 & ~3
    return data[16:18] + data[20:at] + len(data).to_bytes(4, "little")


@dataclass(slots=True)
class _Found:
    """The rules found in one datagram."""

    heads: list[int] = field(default_factory=list)
    rules: list[NftRule] = field(default_factory=list)
    places: list[Places] = field(default_factory=list)

    def rule(self, found: Attributes, family: str) -> None:
        rule, places = decode_rule(found, family)
        self.rules.append(rule)
        self.places.append(places)


class NftDecoder:
    """One stream's decoder: `decoder(batch)`. It keeps the layouts of the last two rule dumps, nothing else.

    `events`: the stream carries announcements (NFNLGRP_NFTABLES), so a generation in it names who made it.
    """

    def __init__(self, events: bool = False) -> None:
        self._events = events
        self._fresh: dict[bytes, _Layout] = {}  # of the dump under way
        self._known: dict[bytes, _Layout] = {}  # of the one before
        self._size = 0
        self._objects: dict[bytes, NftObject] = {}  # by their bytes: those of the dump before, …
        self._seen: dict[bytes, NftObject] = {}  # … and of the one under way: most do not count from poll to poll

    def __call__(self, batch: Batch) -> NftDecoded:
        """Decode a batch of datagrams; requests of ours are skipped, bad bytes become errors, nothing is raised."""
        out, errors = NftDecoded(batch.stream, batch.seq), ErrorRows()
        outgoing = batch.meta.outgoing if isinstance(batch.meta, NetlinkMeta) else np.zeros(len(batch), np.bool_)
        for i in range(len(batch)):
            if not outgoing[i]:
                for bad in self._datagram(batch.record(i), int(batch.ts_ns[i]), out):
                    errors.add(i, int(batch.off[i]) + bad.offset, bad.code)
        out.errors = errors.merged()
        return out

    def _datagram(self, data: bytes, ts_ns: int, out: NftDecoded) -> list[MalformedError]:
        key, bad = _key(data), list[MalformedError]()
        layout = None if key is None else self._fresh.get(key) or self._known.get(key)
        if layout is None or _wiped(data, layout.wipe) != layout.wiped:
            layout, repeatable, bad = self._walk(data, ts_ns, out)
            if not repeatable:
                key = None
        if layout is not None:
            out.blocks.append(_block(data, layout))
            if key is not None:
                self._remember(key, layout)
        return bad

    def _remember(self, key: bytes, layout: _Layout) -> None:
        self._size += len(layout.wiped) if key not in self._fresh else 0
        self._fresh[key] = layout
        if layout.ends or self._size > _CACHE_LIMIT:
            self._turn()

    def _turn(self) -> None:
        """A dump of rules has ended: what it did not show is forgotten."""
        if self._fresh:
            self._known, self._fresh, self._size = self._fresh, {}, 0

    def _walk(self, data: bytes, ts_ns: int, out: NftDecoded) -> tuple[_Layout | None, bool, list[MalformedError]]:
        """Walk the messages: the layout of their rules if there are any, whether it may be remembered, the errors."""
        found, bad = _Found(), list[MalformedError]()
        whole = True
        walk = messages(data)
        while True:
            try:
                kind, at, end = next(walk)
                found.heads.append(at)
                whole &= kind in (_RULE_TYPE, NLMSG_DONE)
                self._message(kind, data, at, end, ts_ns, out, found)
            except StopIteration:
                break
            except MalformedError as error:  # of the walk itself: it ends
                bad.append(error)
        return (_layout(data, found) if found.rules else None), whole and not bad, bad

    def _message(self, kind: int, data: bytes, at: int, end: int, ts_ns: int, out: NftDecoded, rules: _Found) -> None:
        if kind == NLMSG_DONE:
            self._turn()
            if self._seen:
                self._objects, self._seen = self._seen, {}
        if kind == NLMSG_ERROR:
            out.refused += data[at + NLMSG_HDRLEN : at + NLMSG_HDRLEN + 4] != bytes(4)
        if kind >> 8 != NFNL_SUBSYS_NFTABLES:
            return
        if end - at < _BODY:
            raise MalformedError(at, ERR_VALUE_SHORT)
        family, message = family_word(data[at + NLMSG_HDRLEN]), kind & 0xFF
        if message == nft.NFT_MSG_NEWOBJ:
            out.objects.append(self._object(data, at, end, family))
            return
        found = Attributes(data, at + _BODY, end)
        if message == nft.NFT_MSG_NEWRULE:
            rules.rule(found, family)
        elif message == nft.NFT_MSG_NEWTABLE:
            out.tables.append(decode_table(found, family))
        elif message == nft.NFT_MSG_NEWCHAIN:
            out.chains.append(decode_chain(found, family))
        elif message == nft.NFT_MSG_NEWGEN:
            out.generations.append(decode_generation(found, ts_ns, self._events))

    def _object(self, data: bytes, at: int, end: int, family: str) -> NftObject:
        """Return the value of the last time while its bytes are the same (but for the generation in its header)."""
        key = data[at + 16 : at + 17] + data[at + _BODY : end]
        found = self._objects.get(key) or decode_object(Attributes(data, at + _BODY, end), family)
        if len(self._seen) < _MOST_OBJECTS:
            self._seen[key] = found
        return found
