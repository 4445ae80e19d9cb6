"""Tables, chains, rules, objects and generations of nf_tables messages, from dumps and events.

Successive rule dumps differ only in their counters, so each datagram is kept with those bytes set to zero: if the next
one is equal apart from them, only the counters are read (linux/netfilter/nf_tables.h; 10,000 rules are 5.8 MB a dump).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Batch, NetlinkMeta
from nettop.columns import DecodeErrors
from nettop.decode.netlink import ErrorRows
from nettop.decode.nftables import objects
from nettop.decode.nftables.commits import CommitDecoder, NftCommit
from nettop.decode.nftables.objects import Generation, NftChain, NftObject, NftTable
from nettop.decode.nftables.rule_shapes import RuleShapes
from nettop.decode.nftables.rules import NftRule, RuleOffsets, Rules
from nettop.decode.nftables.sets import NftSet
from nettop.linux import netlink as nl
from nettop.linux import nf_tables as nft
from nettop.linux.netlink import NLMSG_HDRLEN, Attributes, MalformedError
from nettop.linux.nfnetlink import NFGEN_LENGTH, NFNL_SUBSYS_NFTABLES

_BODY = NLMSG_HDRLEN + NFGEN_LENGTH
_RULE_TYPE = NFNL_SUBSYS_NFTABLES << 8 | nft.NFT_MSG_NEWRULE
_MAX_OBJECTS = 50_000  # that are cached
_MAX_REQUESTS = 20  # whose last dumps are cached: of all rules, of a few tables, and of the rules on screen
_CACHE_LIMIT = 64 << 20  # bytes of cached datagrams: about 100,000 rules


@dataclass(frozen=True, slots=True)
class RuleBlock:
    """The rules of one datagram, in dump order. While their layout does not change, `rules` is the same object.

    `packets` and `bytes` are those of the last counter expression of each rule: the one nearest to its verdict.
    """

    rules: Rules
    counted: NDArray[np.bool_]
    packets: NDArray[np.uint64]
    bytes: NDArray[np.uint64]


@dataclass(slots=True)
class NftDecoded:
    """The decoded content of one batch."""

    stream: int
    tables: list[NftTable] = field(default_factory=list)
    chains: list[NftChain] = field(default_factory=list)
    blocks: list[RuleBlock] = field(default_factory=list)
    objects: list[NftObject] = field(default_factory=list)
    generations: list[Generation] = field(default_factory=list)
    sets: list[NftSet] = field(default_factory=list)  # of events, as the next
    commits: list[NftCommit] = field(default_factory=list)
    refused: int = 0  # NLMSG_ERROR answers
    errors: DecodeErrors = field(default_factory=DecodeErrors.none)


@dataclass(frozen=True, slots=True)
class _RuleLayout:
    wiped: bytes  # the datagram with all variable bytes set to zero
    wipe: NDArray[np.int64]  # indices of its 16-bit halves that vary
    rules: Rules
    counted: NDArray[np.bool_]
    octets_at: NDArray[np.int64]  # index of the 32-bit word at which each rule's value begins; 0: not counted
    packets_at: NDArray[np.int64]
    ends: bool  # whether NLMSG_DONE is in it


def _wide(words: NDArray[np.uint32], at: NDArray[np.int64]) -> NDArray[np.uint64]:
    return words[at].astype(np.uint64) << np.uint64(32) | words[at + 1]


def _block(data: bytes, layout: _RuleLayout) -> RuleBlock:
    words = np.frombuffer(data, dtype=">u4", count=len(data) // 4)
    octets = np.where(layout.counted, _wide(words, layout.octets_at), np.uint64(0))
    packets = np.where(layout.counted, _wide(words, layout.packets_at), np.uint64(0))
    return RuleBlock(layout.rules, layout.counted, packets, octets)


def _wiped(data: bytes, wipe: NDArray[np.int64]) -> bytes:
    copy = bytearray(data)
    np.frombuffer(copy, dtype=np.uint16, count=len(copy) // 2)[wipe] = 0
    return bytes(copy)


def _halves(found: _DatagramRules) -> NDArray[np.int64]:
    """Return the 16-bit halves that vary: flags (NLM_F_DUMP_INTR), seq, portid and generation of messages, values."""
    heads = np.array(found.heads, dtype=np.int64)[:, None] // 2 + (3, 4, 5, 6, 7, 9)
    values = [at for offsets in found.offsets for pair in offsets.counters for at in pair]
    counters = np.array(values, dtype=np.int64)[:, None] // 2 + range(4)
    others = [half for of in found.offsets for first, last in of.volatile for half in range(first // 2, last // 2)]
    return np.concatenate((heads.ravel(), counters.ravel(), np.array(others, dtype=np.int64)))


def _layout(data: bytes, found: _DatagramRules) -> _RuleLayout:
    wipe = _halves(found)
    at = [offsets.counters[-1] if offsets.counters else (0, 0) for offsets in found.offsets]
    words = np.array(at, dtype=np.int64).reshape(-1, 2) // 4
    counted = np.array([bool(offsets.counters) for offsets in found.offsets], dtype=np.bool_)
    ends = nl.NLMSGHDR.unpack_from(data, found.heads[-1])[1] == nl.NLMSG_DONE
    return _RuleLayout(_wiped(data, wipe), wipe, Rules(found.rules), counted, words[:, 0], words[:, 1], ends)


def _scope(request: bytes) -> bytes:
    """Return the family and attributes of the request for a dump, or b"" for single rules."""
    return request[NLMSG_HDRLEN:] if nl.NLMSGHDR.unpack_from(request)[2] & nl.NLM_F_DUMP else b""


def _key(data: bytes) -> bytes | None:
    """Return the key of a datagram of rules: its first rule's table, chain and handle, and its length."""
    if len(data) < 24 or len(data) % 4 or nl.NLMSGHDR.unpack_from(data)[1] != _RULE_TYPE:
        return None
    at = 20
    for _ in range(3):
        if at + 4 > len(data):
            return None
        at += int.from_bytes(data[at : at + 2], sys.byteorder) + 3 & ~3
    return data[16:18] + data[20:at] + len(data).to_bytes(4, "little")


@dataclass(slots=True)
class _DatagramRules:
    """The rules of one datagram, with the offsets of its messages and of variable bytes."""

    heads: list[int] = field(default_factory=list)
    rules: list[NftRule] = field(default_factory=list)
    offsets: list[RuleOffsets] = field(default_factory=list)


class NftDecoder:
    """The decoder of one stream. It caches the rule layouts and the objects of its last two dumps.

    `events`: the stream carries notifications (NFNLGRP_NFTABLES), whose generations name the process that made them.
    """

    def __init__(self, events: bool = False) -> None:
        self._events = events
        self._layouts: dict[bytes, _RuleLayout] = {}  # of the current dump
        self._old_layouts: dict[bytes, dict[bytes, _RuleLayout]] = {}  # of the previous dumps, by their requests
        self._request = b""  # family and attributes of the request for the current dump
        self._size = 0
        self._shapes = RuleShapes()
        self._objects: dict[bytes, NftObject] = {}  # of the current dump, by their bytes: most do not change
        self._old_objects: dict[bytes, NftObject] = {}  # of the previous dump
        self._commits = CommitDecoder()

    def __call__(self, batch: Batch) -> NftDecoded:
        """Decode a batch of datagrams. Never raises: bad bytes become errors. Our own requests are skipped."""
        out, errors = NftDecoded(batch.stream), ErrorRows()
        outgoing = batch.meta.outgoing if isinstance(batch.meta, NetlinkMeta) else np.zeros(len(batch), np.bool_)
        for i in range(len(batch)):
            if outgoing[i]:
                self._end_rule_dump()  # single rules have no NLMSG_DONE
                self._request = _scope(batch.record(i))
            else:
                for bad in self._datagram(batch.record(i), int(batch.ts_ns[i]), out):
                    errors.add(i, int(batch.off[i]) + bad.offset, bad.code)
        out.errors = errors.merged()
        return out

    def _datagram(self, data: bytes, ts_ns: int, out: NftDecoded) -> list[MalformedError]:
        key, bad = _key(data), list[MalformedError]()
        old = self._old_layouts.get(self._request, {})
        layout = None if key is None else self._layouts.get(key) or old.get(key)
        if layout is None or _wiped(data, layout.wipe) != layout.wiped:
            layout, repeatable, bad = self._walk(data, ts_ns, out)
            if not repeatable:
                key = None
        if layout is not None:
            out.blocks.append(_block(data, layout))
            if key is not None:
                self._cache(key, layout)
        return bad

    def _cache(self, key: bytes, layout: _RuleLayout) -> None:
        self._size += len(layout.wiped) if key not in self._layouts else 0
        self._layouts[key] = layout
        if layout.ends or self._size > _CACHE_LIMIT:
            self._end_rule_dump()

    def _end_rule_dump(self) -> None:
        """Drop the layouts of the previous such dump, and make those of the current one the previous ones."""
        if self._layouts:
            self._old_layouts.pop(self._request, None)
            self._old_layouts[self._request], self._layouts, self._size = self._layouts, {}, 0
            if len(self._old_layouts) > _MAX_REQUESTS:
                del self._old_layouts[next(iter(self._old_layouts))]

    def _walk(self, data: bytes, ts_ns: int, out: NftDecoded) -> tuple[_RuleLayout | None, bool, list[MalformedError]]:
        """Walk the messages. Return the layout of their rules if there are any, whether to cache it, and the errors."""
        found, bad = _DatagramRules(), list[MalformedError]()
        whole = True
        walk = nl.messages(data)
        while True:
            try:
                kind, at, end = next(walk)
                found.heads.append(at)
                whole &= kind in (_RULE_TYPE, nl.NLMSG_DONE)
                self._message(kind, data, at, end, ts_ns, out, found)
            except StopIteration:
                break
            except MalformedError as error:  # after one of the walk itself, next() raises StopIteration
                bad.append(error)
        return (_layout(data, found) if found.rules else None), whole and not bad, bad

    def _message(
        self, kind: int, data: bytes, at: int, end: int, ts_ns: int, out: NftDecoded, rules: _DatagramRules
    ) -> None:
        if kind == _RULE_TYPE and not self._events and end - at >= _BODY:  # nearly all messages
            rule, varying = self._shapes.decode(data, at, end, objects.family_name(data[at + NLMSG_HDRLEN]))
            rules.rules.append(rule)
            rules.offsets.append(varying)
            return
        if kind == nl.NLMSG_DONE:
            self._end_rule_dump()
            if self._objects:
                self._old_objects, self._objects = self._objects, {}
        if kind == nl.NLMSG_ERROR:
            out.refused += data[at + NLMSG_HDRLEN : at + NLMSG_HDRLEN + 4] != bytes(4)
        if kind >> 8 != NFNL_SUBSYS_NFTABLES:
            return
        if end - at < _BODY:
            raise MalformedError(at, nl.ERR_VALUE_SHORT)
        message = kind & 0xFF
        if message == nft.NFT_MSG_NEWGEN:
            found = Attributes(data, at + _BODY, end)
            out.generations.append(objects.decode_generation(found, ts_ns, self._events))
            out.commits += [self._commits.end(out.generations[-1])] if self._events else []
        elif self._events:
            self._commits.add(message, data, at, end, out.sets)
        else:
            self._answer(message, data, at, end, out)

    def _answer(self, message: int, data: bytes, at: int, end: int, out: NftDecoded) -> None:
        family = objects.family_name(data[at + NLMSG_HDRLEN])
        if message == nft.NFT_MSG_NEWOBJ:
            out.objects.append(self._object(data, at, end, family))
        elif message == nft.NFT_MSG_NEWTABLE:
            out.tables.append(objects.decode_table(Attributes(data, at + _BODY, end), family))
        elif message == nft.NFT_MSG_NEWCHAIN:
            out.chains.append(objects.decode_chain(Attributes(data, at + _BODY, end), family))

    def _object(self, data: bytes, at: int, end: int, family: str) -> NftObject:
        """Return the object of the previous dump if its bytes are equal apart from the generation in its header."""
        key = data[at + 16 : at + 17] + data[at + _BODY : end]
        found = self._old_objects.get(key) or objects.decode_object(Attributes(data, at + _BODY, end), family)
        if len(self._objects) < _MAX_OBJECTS:
            self._objects[key] = found
        return found
