"""Raw nf_tables messages, dumped or announced, to tables, chains, rules, objects and generations.

A rule dump repeats itself but for its counters, so each datagram is remembered with those bytes wiped: when the next
one is the same underneath, only the counters are read (linux/netfilter/nf_tables.h; 10,000 rules are 5.8 MB a dump).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Batch, NetlinkMeta
from nettop.columns import DecodeErrors
from nettop.decode.nftables.attributes import (
    NFNL_SUBSYS_NFTABLES,
    NFT_MSG_NEWCHAIN,
    NFT_MSG_NEWGEN,
    NFT_MSG_NEWOBJ,
    NFT_MSG_NEWRULE,
    NFT_MSG_NEWTABLE,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSG_HEADER,
    MalformedError,
)
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

BAD_LENGTH = 1  # a message's length is wrong
BAD_ATTRIBUTE = 2  # an attribute's length is wrong, or one is missing

_RULE_TYPE = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE
_NAMED: dict[int, tuple[Callable[[bytes, int, int, str], object], str]] = {
    NFT_MSG_NEWTABLE: (decode_table, "tables"),
    NFT_MSG_NEWCHAIN: (decode_chain, "chains"),
}
_MOST_OBJECTS = 50_000  # remembered
_CACHE_LIMIT = 64 << 20  # bytes of remembered datagrams: about 100,000 rules


@dataclass(frozen=True, slots=True)
class RuleBlock:
    """The rules of one datagram, in dump order. While their layout stands, `rules` is the same object every time.

    `packets`, `bytes` (uint64) are of the last counter expression of each rule: the one nearest to its verdict.
    """

    rules: tuple[NftRule, ...]
    counted: NDArray[np.bool_]
    packets: NDArray[np.uint64]
    bytes: NDArray[np.uint64]


@dataclass(slots=True)
class NftDecoded:
    """What one batch says."""

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
    ends: bool  # NLMSG_DONE stands in it


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
    ends = NLMSG_HEADER.unpack_from(data, found.heads[-1])[1] == NLMSG_DONE
    return _Layout(_wiped(data, wipe), wipe, tuple(found.rules), counted, words[:, 0], words[:, 1], ends)


def _key(data: bytes) -> bytes | None:
    """What names a datagram of rules from dump to dump: its first rule's table, chain and handle, and its length."""
    if len(data) < 24 or len(data) % 4 or NLMSG_HEADER.unpack_from(data)[1] != _RULE_TYPE:
        return None
    at = 20
    for _ in range(3):
        if at + 4 > len(data):
            return None
        at += int.from_bytes(data[at : at + 2], sys.byteorder) + 3 & ~3
    return data[16:18] + data[20:at] + len(data).to_bytes(4, "little")


class _Errors:
    """Errors of a batch under way; offsets are given within the datagram."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, int, int]] = []
        self.record = self.base = 0

    def add(self, offset: int, code: int) -> None:
        self.rows.append((self.record, self.base + offset, code))

    def of_this_record(self) -> bool:
        return bool(self.rows) and self.rows[-1][0] == self.record

    def columns(self) -> DecodeErrors:
        if not self.rows:
            return DecodeErrors.none()
        table = np.array(self.rows, dtype=np.uint32)
        return DecodeErrors(table[:, 0], table[:, 1], table[:, 2].astype(np.uint8))


@dataclass(slots=True)
class _Found:
    """What a walk gathers of one datagram."""

    heads: list[int] = field(default_factory=list)
    rules: list[NftRule] = field(default_factory=list)
    places: list[Places] = field(default_factory=list)

    def rule(self, data: bytes, at: int, end: int) -> None:
        if end - at < 20:
            raise MalformedError(at)
        rule, places = decode_rule(data, at + 20, end, family_word(data[at + 16]))
        self.rules.append(rule)
        self.places.append(places)


def _messages(data: bytes, errors: _Errors) -> Iterator[tuple[int, int]]:
    """Where each nlmsg of a datagram begins and ends; a length that lies ends the datagram."""
    at = 0
    while at < len(data):
        size = NLMSG_HEADER.unpack_from(data, at)[0] if at + 16 <= len(data) else 0
        if size < 16 or at + size > len(data):
            errors.add(at, BAD_LENGTH)
            return
        yield at, at + size
        at += size + 3 & ~3


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
        out, errors = NftDecoded(batch.stream, batch.seq), _Errors()
        outgoing = batch.meta.outgoing if isinstance(batch.meta, NetlinkMeta) else np.zeros(len(batch), np.bool_)
        for i in range(len(batch)):
            if not outgoing[i]:
                errors.record, errors.base = i, int(batch.off[i])
                self._datagram(batch.record(i), int(batch.ts_ns[i]), out, errors)
        out.errors = errors.columns()
        return out

    def _datagram(self, data: bytes, ts_ns: int, out: NftDecoded, errors: _Errors) -> None:
        key = _key(data)
        layout = None if key is None else self._fresh.get(key) or self._known.get(key)
        if layout is None or _wiped(data, layout.wipe) != layout.wiped:
            layout, repeatable = self._walk(data, ts_ns, out, errors)
            if not repeatable:
                key = None
        if layout is not None:
            out.blocks.append(_block(data, layout))
            if key is not None:
                self._remember(key, layout)

    def _remember(self, key: bytes, layout: _Layout) -> None:
        self._size += len(layout.wiped) if key not in self._fresh else 0
        self._fresh[key] = layout
        if layout.ends or self._size > _CACHE_LIMIT:
            self._turn()

    def _turn(self) -> None:
        """A dump of rules has ended: what it did not show is forgotten."""
        if self._fresh:
            self._known, self._fresh, self._size = self._fresh, {}, 0

    def _walk(self, data: bytes, ts_ns: int, out: NftDecoded, errors: _Errors) -> tuple[_Layout | None, bool]:
        """Message by message: the layout of the rules in it (None: it has none), and whether it may be remembered."""
        found = _Found()
        whole = True
        for at, end in _messages(data, errors):
            kind = NLMSG_HEADER.unpack_from(data, at)[1]
            found.heads.append(at)
            try:
                if kind == _RULE_TYPE:
                    found.rule(data, at, end)
                else:
                    whole &= kind == NLMSG_DONE
                    self._other(data, at, end, ts_ns, out)
            except MalformedError as bad:
                errors.add(bad.offset, BAD_ATTRIBUTE)
        return (_layout(data, found) if found.rules else None), whole and not errors.of_this_record()

    def _other(self, data: bytes, at: int, end: int, ts_ns: int, out: NftDecoded) -> None:
        """Anything but a rule."""
        kind = NLMSG_HEADER.unpack_from(data, at)[1]
        if kind == NLMSG_DONE:
            self._turn()
            if self._seen:
                self._objects, self._seen = self._seen, {}
        if kind == NLMSG_ERROR:
            out.refused += data[at + 16 : at + 20] != bytes(4)
        if kind >> 8 != NFNL_SUBSYS_NFTABLES:
            return
        if end - at < 20:
            raise MalformedError(at)
        family = family_word(data[at + 16])
        message = kind & 0xFF
        if message == NFT_MSG_NEWOBJ:
            out.objects.append(self._object(data, at, end, family))
        elif message in _NAMED:
            decode, where = _NAMED[message]
            getattr(out, where).append(decode(data, at + 20, end, family))
        elif message == NFT_MSG_NEWGEN:
            out.generations.append(decode_generation(data, at + 20, end, ts_ns, self._events))

    def _object(self, data: bytes, at: int, end: int, family: str) -> NftObject:
        """The same value as the last time while its bytes are the same (but for the generation in its header)."""
        key = data[at + 16 : at + 17] + data[at + 20 : end]
        found = self._objects.get(key) or decode_object(data, at + 20, end, family)
        if len(self._seen) < _MOST_OBJECTS:
            self._seen[key] = found
        return found
