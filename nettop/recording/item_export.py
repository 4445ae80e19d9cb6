"""The packets of a list as a file: pcap if its name says so and they are of one link type, else pcapng."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import numpy as np

from nettop.batch import Batch, Item, StreamAdded
from nettop.recording import pcap
from nettop.recording.copying import PcapCopy
from nettop.recording.records import Ordered
from nettop.recording.writer import RecordingWriter
from nettop.text.units import plural


def export_items(items: Sequence[Item], fd: int, path: str) -> str:
    """Write the packets to the descriptor and close it. Return their number, the format and the path in one line."""
    batches = [item for item in items if isinstance(item, Batch)]
    streams = {item.stream.id: item.stream for item in items if isinstance(item, StreamAdded)}
    count = sum(map(len, batches))
    written = f"{plural(count, 'packet')} written as"
    if pcap.named(path) and len({stream.linktype for stream in streams.values()}) < 2:
        with closing(PcapCopy(fd, path)) as copy:
            copy.write(Ordered(batches, [], np.arange(count)), streams)
        comments = copy.left_out["comments"]
        return f"{written} pcap to {path}" + (f", without {plural(comments, 'comment')}" if comments else "")
    with closing(RecordingWriter(fd, name=path)) as writer:
        writer.write(items)
    why = " (pcap holds one link type only)" if pcap.named(path) else ""
    return f"{written} pcapng{why} to {path}"
