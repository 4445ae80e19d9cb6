"""`nettop read`: the packets of capture files, one a line or one JSON object a line; or those that match, exported.

Only packets are listed: of a recording's netlink messages the flows, events, counters and rules commands tell.
A damaged file gives everything before the damage, then one line on stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import BinaryIO, Protocol

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

Part = tuple[Stream, Batch]
Input = tuple[str, int | InputError]  # a file's name, and its descriptor or why there is none


class Sink(Protocol):
    """Where matching packets go."""

    def packets(self, parts: list[Part]) -> None:
        """Packets of one stretch of a file: batches whose records may interleave (PacketMeta.number is the order)."""
        ...

    def gap(self, gap: Gap, stream: Stream) -> None:
        """A loss that the file tells of."""
        ...

    def close(self) -> None:
        """Nothing follows."""
        ...


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `nettop read`."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="pcap, pcapng or a recording ('-': stdin)")
    arguments.as_json(parser)
    arguments.display_filter(parser)
    parser.add_argument("-w", "--write", metavar="OUT", default="", help="export the matching packets as pcapng")
    parser.add_argument("--force", action="store_true", help="overwrite OUT if it is a capture")


def run(options: argparse.Namespace) -> int:
    """`nettop read FILE... [--filter EXPR] [--json] [-w OUT] [--force]`: returns the exit code of the contract.

    Started as root it opens the files, and gives up every privilege before it looks into them.
    """
    wanted = parse(options.filter, "packet")
    inputs = opened(options.files)
    sink: Sink
    if options.write:
        _check_inputs(options.write, inputs)
        output = unprivileged(lambda: _output(options.write, options.force))
        sink = Export(options.write, output)
    else:
        drop()
        sink = Printer(sys.stdout.buffer, options.json)
    try:
        return read_files(inputs, wanted, sink)
    finally:
        sink.close()


def opened(files: list[str]) -> list[Input]:
    """Every file by name, with its descriptor, or why there is none."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    inputs: list[Input] = []
    for path in files:
        try:
            inputs.append((path, open_input(path)))
        except InputError as error:
            inputs.append((path, error))
    return inputs


def _output(path: str, force: bool) -> int:
    return os.dup(1) if path == "-" else open_new(path, force)


def read_files(inputs: list[Input], wanted: Filter | None, sink: Sink) -> int:
    """Every file in turn. A file that cannot be read, or is damaged, is one line on stderr; the others are given."""
    code = EXIT_OK
    streams = Counter64()
    for path, source in inputs:
        try:
            error = _read_file(path, source, wanted, sink, streams)
        except InputError as failed:
            say(str(failed))
            code = EXIT_FAILED
            continue
        if error:
            say(error)
            code = code or EXIT_DAMAGED
    return code


def _read_file(path: str, source: int | InputError, wanted: Filter | None, sink: Sink, ids: Counter64) -> str:
    """One file to its end; what is wrong with it in one line, or ""."""
    if isinstance(source, InputError):
        raise source
    reader = CaptureReader(source, path, Numbering(Counter64().next, ids.next, path, seekable=False))
    streams: dict[int, Stream] = {}
    error = ""
    try:
        while not reader.ended:
            error = _give(reader.read(), streams, wanted, sink) or error
    finally:
        reader.close()
    return f"{path!r} {error}" if error else ""


def _give(items: list[Item], streams: dict[int, Stream], wanted: Filter | None, sink: Sink) -> str:
    """One stretch of a file goes to the sink; the damage at its end in words, or ""."""
    parts: list[Part] = []
    error = ""
    for item in items:
        if isinstance(item, StreamAdded):
            streams[item.stream.id] = item.stream
        elif isinstance(item, Batch) and streams[item.stream].kind is StreamKind.PACKETS:
            stream = streams[item.stream]
            some = matching(item, stream, wanted)
            if len(some):
                parts.append((stream, some))
        elif isinstance(item, Gap) and streams[item.stream].kind is StreamKind.PACKETS:
            sink.packets(parts)
            parts = []
            sink.gap(item, streams[item.stream])
        elif isinstance(item, End) and item.stream is None and item.error:  # that of a stream was recorded
            error = f"is damaged at byte {item.offset}: {item.error}; what stands before it was read"
    sink.packets(parts)
    return error


def matching(batch: Batch, stream: Stream, wanted: Filter | None) -> Batch:
    """The records that the filter lets through; decoded no deeper than it asks."""
    if wanted is None:
        return batch
    n = len(batch)
    masks = [
        wanted.mask(fields_of(batch, stream, start, min(start + CHUNK_ROWS, n))) for start in range(0, n, CHUNK_ROWS)
    ]
    return select_rows(batch, np.flatnonzero(np.concatenate(masks))) if masks else batch


def numbers_of(batch: Batch) -> list[int]:
    """The records' numbers in their file, from 1."""
    number = batch.meta.number if isinstance(batch.meta, PacketMeta) else None
    return list(range(1, len(batch) + 1)) if number is None else [int(n) for n in number.tolist()]


class Printer:
    """Lines on stdout, a stretch of a file in one write."""

    def __init__(self, out: BinaryIO, as_json: bool) -> None:
        self._out = out
        self._json = JsonWriter() if as_json else None
        self._text = LineWriter()
        self._lost: dict[str, int | None] = {}
        self._nanoseconds: dict[str, bool] = {}  # by file: whether its first packets say more than µs

    def packets(self, parts: list[Part]) -> None:
        """As Sink."""
        if not parts:
            return
        lines = [self._lines(stream, batch) for stream, batch in parts]
        whole = lines[0] if len(lines) == 1 else _in_order(lines, [batch for _, batch in parts])
        self._write(whole)

    def _lines(self, stream: Stream, batch: Batch) -> list[str]:
        cols = PacketDecoder(stream.linktype)(batch).cols
        if self._json is not None:
            return self._json.lines(stream, batch, cols, numbers_of(batch))
        if stream.file not in self._nanoseconds:
            self._nanoseconds[stream.file] = bool((batch.ts_ns % 1000).any())
        return self._text.lines(stream, batch, cols, self._nanoseconds[stream.file])

    def _write(self, lines: list[str]) -> None:
        with printing():
            self._out.write(("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))
            self._out.flush()

    def gap(self, gap: Gap, stream: Stream) -> None:
        """As Sink: an object in JSON; else one line on stderr at the end, for rows of text are packets."""
        if self._json is not None:
            row = {"kind": "gap", "netns": stream.netns, "stream": stream.name, "lost": gap.lost}
            self._write([json.dumps(row | {"reason": gap.why.value, "from_ns": gap.from_ns, "to_ns": gap.to_ns})])
            return
        before = self._lost.get(stream.file, 0)
        self._lost[stream.file] = None if before is None or gap.lost is None else before + gap.lost

    def close(self) -> None:
        """As Sink."""
        for file, lost in self._lost.items():
            count = "an unknown number of" if lost is None else grouped(lost)
            say(f"{file!r} says that {count} packets were lost while it was captured")


def _in_order(lines: list[list[str]], batches: list[Batch]) -> list[str]:
    """The lines of several batches in the order of their records."""
    flat = list(chain.from_iterable(lines))
    number = list(chain.from_iterable(map(numbers_of, batches)))
    return [flat[at] for at in np.argsort(number, kind="stable").tolist()]


class Export:
    """A new pcapng of what matches, with the interfaces, comments and directions it came with."""

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._writer = RecordingWriter(descriptor, name=path)
        self._count = 0

    def packets(self, parts: list[Part]) -> None:
        """As Sink: in the order of the file, over all its interfaces."""
        for stream, batch in _runs(parts):
            self._writer.write([StreamAdded(stream, 0), batch])
            self._count += len(batch)

    def gap(self, gap: Gap, stream: Stream) -> None:
        """As Sink: what was lost is lost in the export too."""
        self._writer.write([StreamAdded(stream, 0), gap])

    def close(self) -> None:
        """As Sink: the file is whole."""
        self._writer.close()
        say(f"{grouped(self._count)} packets written to {self._path!r}")


def _check_inputs(out: str, inputs: list[Input]) -> None:
    """Before anything is created or emptied: the inputs can be read, and none of them is the output."""
    for _, source in inputs:
        if isinstance(source, InputError):
            raise source
        if os.path.exists(out) and os.path.samestat(os.fstat(source), os.stat(out)):
            raise UsageError(f"{out!r} is being read", "export to another file")


def _runs(parts: list[Part]) -> Iterator[Part]:
    """The batches, cut where records of other streams stand between theirs."""
    if len(parts) < 2:
        yield from parts
        return
    number = np.concatenate([numbers_of(batch) for _, batch in parts])
    which = np.concatenate([np.full(len(batch), at) for at, (_, batch) in enumerate(parts)])
    row = np.concatenate([np.arange(len(batch)) for _, batch in parts])
    order = np.argsort(number, kind="stable")
    cuts = [0, *(np.flatnonzero(np.diff(which[order])) + 1).tolist(), len(order)]
    for start, stop in pairwise(cuts):
        stream, batch = parts[int(which[order[start]])]
        yield stream, select_rows(batch, row[order[start:stop]])
