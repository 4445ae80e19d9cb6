"""`nettop read -w`: the copy of packets, as pcap or pcapng."""

from __future__ import annotations

import argparse
import os
import stat
from collections.abc import Mapping

from nettop.batch import Counter64, Stream
from nettop.broker.output import open_new
from nettop.console import say
from nettop.errors import InputError, UsageError
from nettop.headless.selection import InputFile, selection
from nettop.headless.unprivileged import unprivileged
from nettop.model.filter.expression import Filter
from nettop.recording import pcap
from nettop.recording.copying import PcapCopy, PcapngCopy
from nettop.recording.merging import CaptureInput
from nettop.recording.records import Ordered
from nettop.text.packet import linktype_name
from nettop.text.units import grouped, plural

_COMPRESSED_NAMES = (".gz", ".xz", ".bz2", ".zst", ".lz4")


class Export:
    """A sink that copies packets to a new file, with all that their files say of them."""

    keeps_blocks = True

    def __init__(self, path: str, copy: PcapngCopy | PcapCopy) -> None:
        self._path, self._copy, self._count = path, copy, 0

    def write(self, ordered: Ordered, streams: Mapping[int, Stream]) -> None:
        """Copy the packets in order."""
        self._copy.write(ordered, streams)
        self._count += sum(map(len, ordered.batches))

    def close(self) -> None:
        """Close the file. Report on stderr the number of packets, the format, and what it does not hold."""
        self._copy.close()
        packets = plural(self._count, "packet")
        say(f"{packets} written as {self._copy.name} to {self._path!r}")
        counts = self._copy.left_out.items()
        if left := [what if count == 1 else f"{what} ({grouped(count)})" for what, count in counts if count]:
            say(f"left out: {', '.join(left)}")


def export(options: argparse.Namespace, inputs: list[InputFile], display_filter: Filter | None) -> Export:
    """Return the sink for -w, in the format that the name says. UsageError for a name that says another one."""
    path = options.write
    if path.lower().endswith(_COMPRESSED_NAMES):
        raise UsageError(f"{path!r} would not be compressed", "export to a .pcapng file and compress it afterwards")
    _check_inputs(path, inputs)
    descriptor = unprivileged(lambda: os.dup(1) if path == "-" else open_new(path, options.force))
    if not pcap.named(path):
        return Export(path, PcapngCopy(descriptor, path))
    links = link_types(inputs, display_filter)
    if len(links) < 2:
        return Export(path, PcapCopy(descriptor, path))
    names = " and ".join(map(linktype_name, sorted(links)))
    say(f"{path!r} becomes pcapng: pcap holds packets of one link type, and these are of {names}")
    return Export(path, PcapngCopy(descriptor, path))


def link_types(inputs: list[InputFile], display_filter: Filter | None) -> set[int]:
    """Return the link types of all matching packets in regular files, or two of them."""
    found: set[int] = set()
    for path, source in inputs:
        if isinstance(source, InputError) or not stat.S_ISREG(os.fstat(source).st_mode):
            continue
        one = CaptureInput(path, os.dup(source), Counter64(), selection(display_filter))
        while not one.ended and len(found) < 2:
            found |= {one.streams[part.batch.stream].linktype for part in one.read() if part.batch}
            if len({stream.linktype for stream in one.streams.values()}) == 1 and one.is_pcap:
                break
        one.close()
    return found


def _check_inputs(out: str, inputs: list[InputFile]) -> None:
    """Raise InputError if an input cannot be read, UsageError if one is the output, before the output is created."""
    for _, source in inputs:
        if isinstance(source, InputError):
            raise source
        if os.path.exists(out) and os.path.samestat(os.fstat(source), os.stat(out)):
            raise UsageError(f"{out!r} is being read", "export to another file")
