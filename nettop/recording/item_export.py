"""The packets of a list as a file: pcap if its name says so and they are of one link type, else pcapng."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nettop.batch import Batch, Item, PacketMeta, StreamAdded
from nettop.kinds import NO_TIME
from nettop.recording import pcap
from nettop.recording.output import BlockOutput
from nettop.recording.writer import RecordingWriter
from nettop.text.units import grouped


def export_items(items: Sequence[Item], fd: int, path: str) -> str:
    """Write the packets to the descriptor and close it. Return their number, the format and the path in one line."""
    batches = [item for item in items if isinstance(item, Batch)]
    links = {item.stream.linktype: item.stream.snaplen for item in items if isinstance(item, StreamAdded)}
    count = sum(map(len, batches))
    written = f"{grouped(count)} packet{'' if count == 1 else 's'} written as"
    if pcap.named(path) and len(links) < 2:
        comments = _write_pcap(batches, *next(iter(links.items()), (1, 0)), fd, path)
        return f"{written} pcap to {path}" + (f", without {grouped(comments)} comments" if comments else "")
    writer = RecordingWriter(fd, name=path)
    try:
        writer.write(items)
    finally:
        writer.close()
    why = " (pcap holds one link type only)" if pcap.named(path) else ""
    return f"{written} pcapng{why} to {path}"


def _write_pcap(batches: Sequence[Batch], linktype: int, snaplen: int, fd: int, path: str) -> int:
    """Write a pcap file. Return the number of comments that it cannot hold."""
    nanoseconds = any((batch.ts_ns[batch.ts_ns != NO_TIME] % 1000).any() for batch in batches)
    output = BlockOutput(fd, path)
    try:
        records = pcap.encode(batches, np.arange(sum(map(len, batches))), nanoseconds)
        output.write([pcap.file_header(linktype, snaplen, nanoseconds), records])
    finally:
        output.close()
    return sum(len(batch.meta.comment) for batch in batches if isinstance(batch.meta, PacketMeta))
