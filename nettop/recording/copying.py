"""Copies of packets with all that their files say of them: pcapng blocks as they are, or pcap records."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Batch, PacketMeta, Stream
from nettop.errors import NettopError
from nettop.kinds import NO_TIME, StreamKind
from nettop.recording import blocks, bulk, enhanced, foreign, pcap
from nettop.recording.output import BlockOutput
from nettop.recording.records import FileBlock, Ints, Ordered

_EPB_HEAD, _SPB_HEAD = 28, 12
_NAMES = {blocks.CUSTOM_NO_COPY: "custom blocks that may not be copied", blocks.ANNOTATION: "nettop's own blocks"}


class PcapngCopy:
    """A pcapng file of one section. Interfaces that several files describe alike become one."""

    name = "pcapng"

    def __init__(self, fd: int, path: str) -> None:
        """Take over the writable descriptor."""
        self.left_out: Counter[str] = Counter()  # what the file cannot hold, by name
        self._output = BlockOutput(fd, path)
        self._section: list[blocks.Option] | None = None  # options of its header, once that is written
        self._known: dict[tuple[object, ...], int] = {}  # a description → the number of its interface
        self._interfaces: dict[int, int] = {}  # stream → the number of its interface
        self._tick_ns: dict[int, int] = {}  # stream of a pcap file → the unit of its times

    def write(self, ordered: Ordered, streams: Mapping[int, Stream]) -> None:
        """Append packets, interfaces, names, keys and statistics, in order. NettopError if it cannot be written."""
        header = self._header([one for one in ordered.others if isinstance(one, FileBlock) and one.kind == blocks.SHB])
        encoded = [self._block(one, streams) if isinstance(one, FileBlock) else b"" for one in ordered.others]
        sources = [self._packets(batch, streams) for batch in ordered.batches]
        size = np.array(list(map(len, encoded)), np.int64)
        sources.append((np.frombuffer(b"".join(encoded), np.uint8), np.cumsum(size) - size, size))
        length = np.concatenate([size for _, _, size in sources])
        at = bulk.places(length, ordered.order)
        out = np.empty(int(length.sum()), np.uint8)
        start = 0
        for buf, off, size in sources:
            bulk.copy(out, at[start : start + len(off)], buf, off, size)
            start += len(off)
        self._output.write([header, out.data])

    def close(self) -> None:
        """Close the file, which is a capture even without packets."""
        try:
            self._output.write([self._header([])])
        finally:
            self._output.close()

    def _header(self, sections: list[FileBlock]) -> bytes:
        """Return the section header, once: that of the first section, with the comments of the others known so far."""
        described = [foreign.options_of(one.body[16:], one.order) for one in sections]
        if self._section is not None:
            self.left_out["descriptions of other sections"] += sum(one != self._section for one in described)
            return b""
        self._section = described[0] if described else []
        comments = {one for options in described[1:] for one in options if one[0] == blocks.OPT_COMMENT}
        options = [*self._section, *sorted(comments - set(self._section))]
        head = struct.pack("<IHHq", blocks.BYTE_ORDER_MAGIC, 1, 0, -1)
        return blocks.block(blocks.SHB, head + blocks.encode_options(options))

    def _block(self, block: FileBlock, streams: Mapping[int, Stream]) -> bytes:
        """Return a block that is no packet as it is written; b"" for one that is left out or needs no copy."""
        if block.kind == blocks.SHB:
            return b""
        stream = None if block.stream is None else streams.get(block.stream)
        if block.kind == blocks.IDB:
            return self._interface(block, stream)
        if block.kind in (blocks.ISB, blocks.ANNOTATION):
            if block.stream in self._interfaces and stream is not None:
                return foreign.of_interface(block, self._interfaces[stream.id])
            nettops = block.kind == blocks.ISB or blocks.nettop_content(block.body, block.order) is not None
            self.left_out["nettop's own blocks" if nettops else _type(block.kind)] += block.kind != blocks.ISB
            return b""
        body = foreign.native(block)
        if body is None:
            self.left_out[_type(block.kind)] += 1
            return b""
        return blocks.block(block.kind, body)

    def _interface(self, block: FileBlock, stream: Stream | None) -> bytes:
        """Return the description of an interface, unless it is of netlink or the same as an earlier one."""
        if stream is None or stream.kind is not StreamKind.PACKETS:
            self.left_out["netlink messages"] = max(1, self.left_out["netlink messages"])
            return b""
        if stream.linktype > blocks.MAX_LINKTYPE:
            raise NettopError(f"pcapng has no link type {stream.linktype}", "export to a name that ends in .pcap")
        link, snaplen, options = foreign.described(block)
        key, number = (link, snaplen, *foreign.numbered(options, 0)), len(self._known)
        if stream.id in self._interfaces:  # of a later section
            self.left_out["other descriptions of an interface"] += self._known.get(key) != self._interfaces[stream.id]
            return b""
        self._interfaces[stream.id] = known = self._known.setdefault(key, number)
        self._tick_ns[stream.id] = 1 if (blocks.IF_TSRESOL, b"\x09") in options else 1000
        if known != number:
            return b""
        return blocks.interface_description(link, snaplen, foreign.numbered(options, number))

    def _packets(self, batch: Batch, streams: Mapping[int, Stream]) -> tuple[NDArray[np.uint8], Ints, Ints]:
        """Return a buffer with the batch's blocks, and where each is in it, and its length."""
        meta = batch.meta
        assert isinstance(meta, PacketMeta)
        ids = np.full(len(batch), batch.stream) if meta.streams is None else meta.streams
        distinct, which = np.unique(ids, return_inverse=True)
        interface = np.array([self._interfaces[one] for one in distinct.tolist()], np.int64)[which]
        if meta.block is not None:
            return self._blocks(batch, meta.block.astype(np.int64), interface)
        whole = replace(batch, ts_ns=batch.ts_ns // self._tick_ns[batch.stream])  # of a pcap file
        data, start = enhanced.encode(whole, interface)
        return data, start, np.diff(start, append=len(data))

    def _blocks(self, batch: Batch, size: Ints, interface: Ints) -> tuple[NDArray[np.uint8], Ints, Ints]:
        """Return the same for packets of a pcapng file: their blocks as they are, with the interface's new number."""
        simple = batch.ts_ns == NO_TIME
        start = batch.off.astype(np.int64) - np.where(simple, _SPB_HEAD, _EPB_HEAD)
        kind = bulk.gather(batch.buf, start, 1)[:, 0]
        enhanced_rows = kind == blocks.EPB
        overrun = size >= blocks.OVERRUN
        self.left_out["options that reach past their block"] += int(np.count_nonzero(overrun))
        size[overrun] -= blocks.OVERRUN
        plain = enhanced_rows & ~overrun | (simple & (kind == blocks.SPB) & (interface == 0))
        self.left_out["missing times (written as 1970)"] += int(np.count_nonzero(simple & ~plain))
        converted = [
            foreign.packet(batch.buf[start[row] : start[row] + size[row]], int(interface[row]))
            for row in np.flatnonzero(~plain).tolist()
        ]
        size[~plain] = list(map(len, converted))
        to = np.cumsum(size) - size
        out = np.empty(int(size.sum()), np.uint8)
        bulk.copy(out, to[plain], batch.buf, start[plain], size[plain])
        for at, block in zip(to[~plain].tolist(), converted, strict=True):
            out[at : at + len(block)] = np.frombuffer(block, np.uint8)
        enhanced_rows &= plain
        bulk.scatter(out, to[enhanced_rows] + 8, interface[enhanced_rows].astype(np.uint32).reshape(-1, 1))
        return out, to, size


class PcapCopy:
    """A pcap file: packets of one link type, and nothing else."""

    name = "pcap"

    def __init__(self, fd: int, path: str) -> None:
        """Take over the writable descriptor."""
        self.left_out: Counter[str] = Counter()
        self._output = BlockOutput(fd, path)
        self._path = path
        self._linktype: int | None = None
        self._nanoseconds = False

    def write(self, ordered: Ordered, streams: Mapping[int, Stream]) -> None:
        """Append packets. NettopError if one has another link type, or if it cannot be written."""
        for one in ordered.others:
            self._count(one)
        parts: list[bytes | memoryview] = []
        for batch in ordered.batches:
            stream = streams[batch.stream]
            if self._linktype is None:
                self._linktype = stream.linktype
                known = np.concatenate([one.ts_ns[one.ts_ns != NO_TIME] for one in ordered.batches])
                self._nanoseconds = bool((known % 1000).any())
                parts.append(pcap.file_header(stream.linktype, stream.snaplen, self._nanoseconds))
            if stream.linktype != self._linktype:
                raise NettopError(f"{self._path!r} cannot hold a second link type", "export to a .pcapng file")
            assert isinstance(batch.meta, PacketMeta)
            self.left_out["comments"] += len(batch.meta.comment)
            self.left_out["missing times (written as 1970)"] += int(np.count_nonzero(batch.ts_ns == NO_TIME))
        rows = ordered.order[ordered.order < sum(map(len, ordered.batches))]
        self._output.write([*parts, pcap.encode(ordered.batches, rows, self._nanoseconds)])

    def close(self) -> None:
        """Close the file, which is a capture even without packets."""
        try:
            if self._linktype is None:
                self._output.write([pcap.file_header(1, 0, False)])
        finally:
            self._output.close()

    def _count(self, other: object) -> None:
        if not isinstance(other, FileBlock):
            self.left_out["losses"] += 1
        elif other.kind in _LEFT_BY_PCAP:
            self.left_out[_LEFT_BY_PCAP[other.kind]] += 1


_LEFT_BY_PCAP = {
    blocks.NRB: "blocks of names",
    blocks.DSB: "blocks of keys",
    blocks.ISB: "statistics",
    blocks.CUSTOM: "custom blocks",
    blocks.CUSTOM_NO_COPY: "custom blocks",
}


def _type(kind: int) -> str:
    return _NAMES.get(kind, f"blocks of type {kind:#x}")
