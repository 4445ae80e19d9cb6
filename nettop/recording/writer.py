"""Writing items as a recording: a pcapng file that Wireshark opens and nettop replays."""

from __future__ import annotations

import platform
import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Batch, Counters, End, Item, PacketMeta, Stream, StreamAdded
from nettop.errors import NettopError
from nettop.kinds import NO_TIME, StreamKind
from nettop.recording import blocks, enhanced, interfaces, marks
from nettop.recording.output import BlockOutput, BlockPart


@dataclass(slots=True)
class _RecordedStream:
    """A stream of the recording, and the values of its statistics block."""

    stream: Stream
    interface: int | None  # None: text only
    records: int = 0
    first_ns: int | None = None
    last_ns: int = 0
    counters: Counters | None = None


class RecordingWriter:
    """A recording that is being written. The header and the interfaces known at the start are written at once."""

    def __init__(self, fd: int, streams: Iterable[Stream] = (), *, name: str = "the recording") -> None:
        """Take over the writable descriptor. Raises NettopError (OutputClosed for a pipe without a reader)."""
        self._output = BlockOutput(fd, name)
        self._streams: dict[int, _RecordedStream] = {}
        self._interfaces = 0
        parts: list[BlockPart] = [blocks.section_header(f"{platform.system()} {platform.release()}")]
        parts.extend(self._describe(stream) for stream in streams)
        self._output.write(parts)

    @property
    def written(self) -> int:
        """Bytes of the file so far."""
        return self._output.written

    @property
    def streams(self) -> list[Stream]:
        """The streams that have been described, in order."""
        return [recorded.stream for recorded in self._streams.values()]

    def write(self, items: Iterable[Item]) -> None:
        """Write items in order, in one system call. A StreamAdded of a stream already described is ignored.

        Raises ValueError for an item of a stream that was never added; NettopError when the file cannot be written.
        """
        parts: list[BlockPart] = []
        for item in items:
            parts.extend(self._encode(item))
        self._output.write(parts)

    def finish(self) -> None:
        """Write the statistics of every interface; they repeat the last Counters, with the times and our own count."""
        self._output.write([self._encode_statistics(r) for r in self._streams.values() if r.interface is not None])

    def close(self) -> None:
        """Call finish(), then close the file, even if finish() fails."""
        try:
            self.finish()
        finally:
            self._output.close()

    def resume(self, counters: Iterable[Counters]) -> None:
        """Take over the last totals of a file before this one, for the statistics at its end."""
        for item in counters:
            if item.stream in self._streams:
                self._streams[item.stream].counters = item

    def totals(self) -> list[Counters]:
        """Return the last Counters of each stream that has any."""
        return [r.counters for r in self._streams.values() if r.counters is not None]

    def _describe(self, stream: Stream) -> bytes:
        if stream.kind is StreamKind.TEXT:
            self._streams[stream.id] = _RecordedStream(stream, None)
            return blocks.annotation(marks.pack({"item": "stream", **marks.stream_fields(stream)}))
        if interfaces.linktype(stream) > blocks.MAX_LINKTYPE:
            raise NettopError(f"pcapng has no link type {stream.linktype}", "choose a name that ends in .pcap")
        self._streams[stream.id] = _RecordedStream(stream, self._interfaces)
        self._interfaces += 1
        return interfaces.encode(stream)

    def _encode(self, item: Item) -> Iterable[BlockPart]:
        if isinstance(item, StreamAdded):
            return [] if item.stream.id in self._streams else [self._describe(item.stream)]
        if isinstance(item, End) and item.stream is None:
            return []  # the end of the file shows it
        recorded = self._streams.get(-1 if item.stream is None else item.stream)
        if recorded is None:
            raise ValueError(f"stream {item.stream} was never added to the recording")
        if isinstance(item, Batch):
            return self._encode_batch(item, recorded)
        if isinstance(item, Counters):
            recorded.counters = item
            if recorded.interface is not None:
                return [blocks.interface_statistics(recorded.interface, item.ts_ns, _total_options(item))]
        return marks.encode(item)

    def _encode_batch(self, batch: Batch, recorded: _RecordedStream) -> list[BlockPart]:
        if not len(batch) or recorded.interface is None:
            return []
        streams = batch.meta.streams if isinstance(batch.meta, PacketMeta) else None
        if streams is not None:
            return self._encode_several(batch, streams)
        self._count(batch.ts_ns, recorded)
        return [enhanced.encode(batch, recorded.interface, recorded.stream.netlink_family)[0].data]

    def _encode_several(self, batch: Batch, streams: NDArray[np.int32]) -> list[BlockPart]:
        """Encode packets of several devices in their order."""
        interface = np.zeros(len(batch), np.int64)
        for stream in np.unique(streams).tolist():
            recorded, rows = self._streams[stream], streams == stream
            assert recorded.interface is not None
            interface[rows] = recorded.interface
            self._count(batch.ts_ns[rows], recorded)
        return [enhanced.encode(batch, interface)[0].data]

    def _count(self, ts_ns: NDArray[np.int64], recorded: _RecordedStream) -> None:
        recorded.records += len(ts_ns)
        known = ts_ns[ts_ns != NO_TIME]
        if not len(known):
            return
        first, last = int(known.min()), int(known.max())
        recorded.first_ns = first if recorded.first_ns is None else min(first, recorded.first_ns)
        recorded.last_ns = max(last, recorded.last_ns)

    def _encode_statistics(self, recorded: _RecordedStream) -> bytes:
        counters, options = recorded.counters, [] if recorded.counters is None else _total_options(recorded.counters)
        if recorded.first_ns is not None:
            options.append((blocks.ISB_STARTTIME, struct.pack("<II", *blocks.high_and_low(recorded.first_ns))))
            options.append((blocks.ISB_ENDTIME, struct.pack("<II", *blocks.high_and_low(recorded.last_ns))))
        options.append((blocks.ISB_USRDELIV, struct.pack("<Q", recorded.records)))
        ts_ns = recorded.last_ns if counters is None else counters.ts_ns
        assert recorded.interface is not None
        return blocks.interface_statistics(recorded.interface, ts_ns, options)


def _total_options(item: Counters) -> list[blocks.Option]:
    received, dropped = struct.pack("<Q", item.received), struct.pack("<Q", item.dropped)
    return [(blocks.ISB_IFRECV, received), (blocks.ISB_IFDROP, dropped)]
