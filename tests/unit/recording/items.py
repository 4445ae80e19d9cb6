"""Hypothesis strategies for what a run records, and what a replay must give back of it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from nettop.batch import Batch, Counters, DumpMark, End, Gap, Item, NetlinkMeta, PacketMeta, Stream, StreamAdded, Text
from nettop.kinds import GapReason, StreamKind, TextKind
from nettop.recording.writer import RecordingWriter

TIMES = st.integers(-(1 << 62), 1 << 62)
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
TOTALS = st.integers(0, (1 << 64) - 1)
STATUS = [0, 1 << 3, 1 << 7, 1 << 8, 1 << 3 | 1 << 8]

PACKETS = Stream(0, StreamKind.PACKETS, "eth0", "gw-a", 113, 96, "tcp port 80", "Linux", 7)
OTHER = Stream(1, StreamKind.PACKETS, "wlan0")
EVENTS = Stream(2, StreamKind.NETLINK, "conntrack", "gw-a")
ROUTES = Stream(3, StreamKind.NETLINK, "links", netlink_family=0)
TEXTS = Stream(4, StreamKind.TEXT, "text", "weird \u2192 name")
STREAMS = [PACKETS, OTHER, EVENTS, ROUTES, TEXTS]


@st.composite
def batches(draw: st.DrawFn, stream: int) -> Batch:
    """A batch whose records stand anywhere in its buffer, overlapping or not."""
    buf = draw(st.binary(max_size=200))
    n = draw(st.integers(1, 8))
    spans = [sorted(draw(st.tuples(st.integers(0, len(buf)), st.integers(0, len(buf))))) for _ in range(n)]
    off = np.array([a for a, _ in spans], np.uint32)
    caplen = np.array([b - a for a, b in spans], np.uint32)
    ts_ns = np.array(draw(st.lists(TIMES, min_size=n, max_size=n)), np.int64)
    meta: NetlinkMeta | PacketMeta
    meta = draw(netlink_meta(n)) if stream in (EVENTS.id, ROUTES.id) else draw(packet_meta(caplen))
    return Batch(stream, 0, buf, off, caplen, ts_ns, meta)


def _column(values: Iterable[int], n: int, dtype: Any) -> st.SearchStrategy[Any]:
    return st.lists(st.sampled_from(list(values)), min_size=n, max_size=n).map(lambda v: np.array(v, dtype))


def netlink_meta(n: int) -> st.SearchStrategy[NetlinkMeta]:
    nsid = st.none() | _column([-1, 0, 5, (1 << 31) - 1, -(1 << 31)], n, np.int32)
    return st.builds(NetlinkMeta, _column([0, 1], n, np.bool_), nsid)


def packet_meta(caplen: Any) -> st.SearchStrategy[PacketMeta]:
    n = len(caplen)
    direction = st.none() | _column([0, 1, 2, 3, 4, 255], n, np.uint8)
    comment = st.dictionaries(st.integers(0, n - 1), WORDS.filter(bool), max_size=2)
    return st.builds(PacketMeta, st.just(caplen + 4), direction, st.none() | _column(STATUS, n, np.uint32), comment)


def marks(stream: int) -> st.SearchStrategy[Item]:
    seq = st.just(0)
    on = st.just(stream)
    return st.one_of(
        st.builds(DumpMark, on, seq, TIMES, WORDS, st.booleans(), st.booleans()),
        st.builds(Gap, on, seq, st.none() | TOTALS, st.sampled_from(GapReason), TIMES, TIMES),
        st.builds(Counters, on, seq, TIMES, TOTALS, TOTALS),
        st.builds(Text, on, seq, TIMES, st.sampled_from(TextKind), st.binary(max_size=60), WORDS),
        st.builds(End, on, seq, WORDS, WORDS),
    )


def items() -> st.SearchStrategy[list[Item]]:
    """A run of items over STREAMS, without the StreamAdded."""
    of = [batches(s.id) for s in STREAMS if s.kind is not StreamKind.TEXT] + [marks(s.id) for s in STREAMS]
    return st.lists(st.one_of(of), max_size=12)


def record(path: Path, some: list[Item], streams: list[Stream] = STREAMS) -> None:
    """Writes a recording of the items."""
    writer = RecordingWriter(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), streams)
    writer.write(some)
    writer.close()


def flat(some: Iterable[Item]) -> list[Any]:
    """The items with each batch as its records, and without numbers: what must be equal before and after."""
    out: list[Any] = []
    for item in some:
        if isinstance(item, Batch):
            out.extend(_record(item, i) for i in range(len(item)))
        elif isinstance(item, StreamAdded):
            out.append(replace(item.stream, file=""))
        elif not (isinstance(item, End) and item.stream is None):
            out.append(replace(item, seq=0))
    return out


def _record(batch: Batch, i: int) -> tuple[Any, ...]:
    common = (batch.stream, int(batch.ts_ns[i]), batch.record(i))
    meta = batch.meta
    if isinstance(meta, NetlinkMeta):
        return (*common, bool(meta.outgoing[i]), -1 if meta.nsid is None else int(meta.nsid[i]))
    direction = 255 if meta.direction is None else int(meta.direction[i])
    status = 0 if meta.tp_status is None else int(meta.tp_status[i])
    return (*common, int(meta.wirelen[i]), direction, status, meta.comment.get(i, ""))
