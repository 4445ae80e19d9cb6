"""`nettop read`: the packets of capture files as lines of text or JSON; or the matching packets, exported.

Only packets are listed. The commands flows, events, counters and rules show a recording's netlink messages.
Of a damaged file everything before the damage is read, then one line on stderr reports it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import sys
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import BinaryIO

import numpy as np

from nettop import arguments
from nettop.batch import Batch, Counter64, End, Gap, Item, PacketMeta, Stream, StreamAdded, select_rows
from nettop.broker.output import open_new
from nettop.console import printing, say
from nettop.decode.packets.decoder import PacketDecoder
from nettop.decode.packets.window import CHUNK_ROWS
from nettop.errors import EXIT_DAMAGED, EXIT_FAILED, EXIT_OK, InputError, UsageError
from nettop.headless.unprivileged import drop, unprivileged
from nettop.kinds import StreamKind
from nettop.model.filter.expression import Filter, parse
from nettop.model.packets.fields import fields_of
from nettop.model.packets.lines import JsonWriter, LineWriter
from nettop.recording.chunks import open_input
from nettop.recording.reader import CaptureReader
from nettop.recording.records import Numbering
from nettop.recording.writer import RecordingWriter
from nettop.text.units import grouped

PacketBatch = tuple[Stream, Batch]
InputFile = tuple[str, int | InputError]  # a file's name, and its descriptor or the error


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `nettop read`."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="pcap, pcapng or a recording ('-': stdin)")
    arguments.add(parser, "--json", "--filter")
    parser.add_argument("-w", "--write", metavar="OUT", default="", help="export the matching packets as pcapng")
    parser.add_argument("--force", action="store_true", help="overwrite OUT if it is a capture")


def run(options: argparse.Namespace) -> int:
    """Print or export the packets that match. Return the exit code of the contract.

    Started as root it opens the files and drops all privileges before it reads them.
    """
    display_filter = parse(options.filter, "packet")
    inputs = open_files(options.files)
    sink: Sink
    if options.write:
        _check_inputs(options.write, inputs)
        make = lambda: os.dup(1) if options.write == "-" else open_new(options.write, options.force)  # noqa: E731
        sink = Export(options.write, unprivileged(make))
    else:
        drop()
        sink = PacketPrinter(sys.stdout.buffer, options.json)
    try:
        return read_files(inputs, display_filter, sink)
    finally:
        sink.close()


def open_files(files: list[str]) -> list[InputFile]:
    """Open all files, up to the hard limit of descriptors."""
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
    inputs: list[InputFile] = []
    for path in files:
        try:
            inputs.append((path, open_input(path)))
        except InputError as error:
            inputs.append((path, error))
    return inputs


def read_files(inputs: list[InputFile], display_filter: Filter | None, sink: Sink) -> int:
    """Read every file in turn. One that cannot be read or is damaged becomes a line on stderr. Return the exit code."""
    code = EXIT_OK
    streams = Counter64()
    for path, source in inputs:
        try:
            error = _read_file(path, source, display_filter, sink, streams)
        except InputError as failed:
            say(str(failed))
            code = EXIT_FAILED
            continue
        if error:
            say(error)
            code = code or EXIT_DAMAGED
    return code


def _read_file(path: str, source: int | InputError, display_filter: Filter | None, sink: Sink, ids: Counter64) -> str:
    """Read one file to its end. Return its damage in one line, or ""."""
    if isinstance(source, InputError):
        raise source
    reader = CaptureReader(source, path, Numbering(Counter64().next, ids.next, path, seekable=False))
    streams: dict[int, Stream] = {}
    error = ""
    try:
        while not reader.ended:
            if reader.ready or _readable(reader.fileno()):
                error = _deliver(reader.read(), streams, display_filter, sink) or error
    finally:
        reader.close()
    return f"{path!r} {error}" if error else ""


def _readable(descriptor: int) -> bool:
    """Wait for data, but a second at most: a signal that comes just before a blocking read would not interrupt it."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(1000))


def _deliver(items: list[Item], streams: dict[int, Stream], display_filter: Filter | None, sink: Sink) -> str:
    """Pass one part of a file to the sink. Return the damage at its end as text, or ""."""
    parts: list[PacketBatch] = []
    error = ""
    for item in items:
        if isinstance(item, StreamAdded):
            streams[item.stream.id] = item.stream
        elif isinstance(item, Batch) and streams[item.stream].kind is StreamKind.PACKETS:
            stream = streams[item.stream]
            matches = matching(item, stream, display_filter)
            if len(matches):
                parts.append((stream, matches))
        elif isinstance(item, Gap) and streams[item.stream].kind is StreamKind.PACKETS:
            sink.packets(parts)
            parts = []
            sink.gap(item, streams[item.stream])
        elif isinstance(item, End) and item.stream is None and item.error:  # the End of a stream was recorded
            error = f"is damaged at byte {item.offset}: {item.error}; what stands before it was read"
    sink.packets(parts)
    return error


def matching(batch: Batch, stream: Stream, display_filter: Filter | None) -> Batch:
    """Return the records that match the filter, decoded only as deep as it needs."""
    if display_filter is None:
        return batch
    n = len(batch)
    masks = [
        display_filter.mask(fields_of(batch, stream, start, min(start + CHUNK_ROWS, n)))
        for start in range(0, n, CHUNK_ROWS)
    ]
    return select_rows(batch, np.flatnonzero(np.concatenate(masks))) if masks else batch


def frame_numbers(batch: Batch) -> list[int]:
    """Return the records' numbers in their file, from 1."""
    number = batch.meta.number if isinstance(batch.meta, PacketMeta) else None
    return list(range(1, len(batch) + 1)) if number is None else [int(n) for n in number.tolist()]


class PacketPrinter:
    """A sink that prints lines on stdout, each part of a file in one write."""

    def __init__(self, out: BinaryIO, as_json: bool) -> None:
        self._out = out
        self._json = JsonWriter() if as_json else None
        self._text = LineWriter()
        self._lost: dict[str, int | None] = {}
        self._nanoseconds: dict[str, bool] = {}  # by file: whether its first packets have ns, not just µs

    def packets(self, parts: list[PacketBatch]) -> None:
        """Print the packets of one part of a file in its order: PacketMeta.number. Its batches may interleave."""
        if not parts:
            return
        lines = [self._lines(stream, batch) for stream, batch in parts]
        whole = lines[0] if len(lines) == 1 else _in_order(lines, [batch for _, batch in parts])
        self._write(whole)

    def _lines(self, stream: Stream, batch: Batch) -> list[str]:
        cols = PacketDecoder(stream.linktype)(batch).cols
        if self._json is not None:
            return self._json.lines(stream, batch, cols, frame_numbers(batch))
        if stream.file not in self._nanoseconds:
            self._nanoseconds[stream.file] = bool((batch.ts_ns % 1000).any())
        return self._text.lines(stream, batch, cols, self._nanoseconds[stream.file])

    def _write(self, lines: list[str]) -> None:
        with printing():
            self._out.write(("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))
            self._out.flush()

    def gap(self, gap: Gap, stream: Stream) -> None:
        """Print a JSON object; or add up the losses for a line on stderr at the end, since text lines are packets."""
        if self._json is not None:
            row = {"kind": "gap", "netns": stream.netns, "stream": stream.name, "lost": gap.lost}
            self._write([json.dumps(row | {"reason": gap.why.value, "from_ns": gap.from_ns, "to_ns": gap.to_ns})])
            return
        before = self._lost.get(stream.file, 0)
        self._lost[stream.file] = None if before is None or gap.lost is None else before + gap.lost

    def close(self) -> None:
        """Report the losses of each file on stderr."""
        for file, lost in self._lost.items():
            count = "an unknown number of" if lost is None else grouped(lost)
            say(f"{file!r} says that {count} packets were lost while it was captured")


def _in_order(lines: list[list[str]], batches: list[Batch]) -> list[str]:
    """Return the lines of several batches in the order of their records."""
    flat = list(chain.from_iterable(lines))
    number = list(chain.from_iterable(map(frame_numbers, batches)))
    return [flat[at] for at in np.argsort(number, kind="stable").tolist()]


class Export:
    """A sink that writes a new pcapng file, with the interfaces, comments and directions of the packets."""

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._writer = RecordingWriter(descriptor, name=path)
        self._count = 0

    def packets(self, parts: list[PacketBatch]) -> None:
        """Write the packets in the order of the file, over all its interfaces."""
        for stream, batch in _runs(parts):
            self._writer.write([StreamAdded(stream, 0), batch])
            self._count += len(batch)

    def gap(self, gap: Gap, stream: Stream) -> None:
        """Write the gap into the export as well."""
        self._writer.write([StreamAdded(stream, 0), gap])

    def close(self) -> None:
        """Close the file and report the number of packets on stderr."""
        self._writer.close()
        say(f"{grouped(self._count)} packets written to {self._path!r}")


Sink = PacketPrinter | Export


def _check_inputs(out: str, inputs: list[InputFile]) -> None:
    """Raise InputError if an input cannot be read, UsageError if one is the output, before the output is created."""
    for _, source in inputs:
        if isinstance(source, InputError):
            raise source
        if os.path.exists(out) and os.path.samestat(os.fstat(source), os.stat(out)):
            raise UsageError(f"{out!r} is being read", "export to another file")


def _runs(parts: list[PacketBatch]) -> Iterator[PacketBatch]:
    """Yield the batches in the order of the file, cut where records of other streams lie between theirs."""
    if len(parts) < 2:
        yield from parts
        return
    number = np.concatenate([frame_numbers(batch) for _, batch in parts])
    which = np.concatenate([np.full(len(batch), at) for at, (_, batch) in enumerate(parts)])
    row = np.concatenate([np.arange(len(batch)) for _, batch in parts])
    order = np.argsort(number, kind="stable")
    cuts = [0, *(np.flatnonzero(np.diff(which[order])) + 1).tolist(), len(order)]
    for start, stop in pairwise(cuts):
        stream, batch = parts[int(which[order[start]])]
        yield stream, select_rows(batch, row[order[start:stop]])
