"""`nettop read`: the packets of capture files as lines of text or JSON; or the matching packets, exported.

Only packets are listed. The commands flows, events, counters and rules show a recording's netlink messages.
Of a damaged file everything before the damage is read, then one line on stderr reports it.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from nettop import arguments
from nettop.batch import Batch, Counter64, Gap, Stream
from nettop.console import printing, say
from nettop.decode.packets.decoder import PacketDecoder
from nettop.errors import EXIT_DAMAGED, EXIT_FAILED, EXIT_OK, InputError
from nettop.headless.damage import damage_text
from nettop.headless.selection import InputFile, parse, selection
from nettop.headless.unprivileged import drop
from nettop.kinds import NO_TIME, StreamKind
from nettop.model.packets.lines import JsonWriter, LineWriter, frame_numbers, gap_json, gap_line, stream_ids
from nettop.recording.chunks import open_input
from nettop.recording.merging import CaptureInput, merged
from nettop.recording.records import Ordered
from nettop.text.sanitize import clean
from nettop.text.times import TimeTexts
from nettop.text.units import plural

if TYPE_CHECKING:
    from nettop.headless.export import Export
    from nettop.model.filter.expression import Filter


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `nettop read`."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="pcap, pcapng or a recording ('-': stdin)")
    arguments.add(parser, "--json", "--filter", "--time")
    parser.add_argument(
        "-#", "--number", action="store_true", help="print numbers, as always for several files or devices"
    )
    parser.add_argument(
        "-w",
        "--write",
        metavar="OUT",
        default="",
        help="export the matching packets to OUT: a .pcap name, or else pcapng",
    )
    parser.add_argument("--force", action="store_true", help="overwrite OUT if it is a capture")


def run(options: argparse.Namespace) -> int:
    """Print or export the packets that match. Return the exit code of the contract.

    Started as root it opens the files and drops all privileges before it reads them.
    """
    display_filter = parse(options.filter, "packet")
    inputs = open_files(options.files)
    sink: PacketPrinter | Export
    if options.write:
        from nettop.headless.export import export

        sink = export(options, inputs, display_filter)
    else:
        drop()
        sink = PacketPrinter(sys.stdout.buffer, options.json, options.time, options.number, len(inputs) > 1)
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


def read_files(inputs: list[InputFile], display_filter: Filter | None, sink: PacketPrinter | Export) -> int:
    """Read all files, in the order of time. One that cannot be read or is damaged becomes a line on stderr.

    Return the exit code.
    """
    ids = Counter64()
    select = selection(display_filter)
    captures = [CaptureInput(path, source, ids, select, sink.keeps_blocks) for path, source in inputs]
    code, strict, reported = EXIT_OK, True, set[int]()
    streams: dict[int, Stream] = {}
    for ordered in merged(captures):
        for one in captures:
            streams |= one.streams
        sink.write(ordered, streams)
        code = _report(captures, reported, code)
        if strict and not ordered.strict:
            strict = False
            say("devices are too far apart in time to be held in memory: not all packets are in the order of time")
    return _report(captures, reported, code)


def _report(captures: list[CaptureInput], reported: set[int], code: int) -> int:
    """Report the files that have ended in an error since the last call. Return the exit code for all so far."""
    for one in captures:
        if not one.ended or one.number in reported:
            continue
        reported.add(one.number)
        if one.error is not None:
            say(str(one.error))
            code = EXIT_FAILED
        elif one.end is not None and one.end.error:
            say(damage_text(one.path, one.end))
            code = code or EXIT_DAMAGED
    return code


class PacketPrinter:
    """A sink that prints lines on stdout, each part of the files in one write."""

    keeps_blocks = False  # it does not need the other blocks of pcapng files

    def __init__(
        self, out: BinaryIO, as_json: bool, time_format: str = "auto", numbers: bool = False, several: bool = False
    ) -> None:
        """`numbers`: print frame numbers even if all lines are of one device; `several`: files, so name them."""
        self._out = out
        self._json = JsonWriter() if as_json else None
        self._text = LineWriter()
        self._times = TimeTexts(time_format)
        self._numbers, self._several = numbers or several, several
        self._lost: dict[str, int | None] = {}
        self._digits: dict[str, int] = {}  # by file: decimals of its times, by its first packets

    def write(self, ordered: Ordered, streams: Mapping[int, Stream]) -> None:
        """Print packets and losses in order."""
        gaps = [one for one in ordered.others if isinstance(one, Gap)]
        for gap in gaps:
            self._add_loss(gap, streams[gap.stream].file)
        lines = [line for batch in ordered.batches for line in self._lines(batch, streams)]
        if self._json is not None:
            lines += [gap_json(gap, streams[gap.stream]) for gap in gaps]
            lines = [lines[at] for at in ordered.order.tolist()]
        else:
            lines = self._timed(ordered, lines + [gap_line(gap, streams[gap.stream]) for gap in gaps], gaps, streams)
        if lines:
            with printing():
                self._out.write(("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))
                self._out.flush()

    def _lines(self, batch: Batch, streams: Mapping[int, Stream]) -> list[str]:
        cols = PacketDecoder(streams[batch.stream].linktype)(batch).cols
        return (self._json or self._text).lines(streams, batch, cols)

    def _timed(self, ordered: Ordered, lines: list[str], gaps: list[Gap], streams: Mapping[int, Stream]) -> list[str]:
        """Return the lines in order, with their times, and with their numbers where these are not plain."""
        if not lines:
            return []
        losses_ns = np.array([gap.to_ns for gap in gaps], np.int64)
        ts_ns = np.concatenate([*(batch.ts_ns for batch in ordered.batches), losses_ns])[ordered.order]
        for batch in ordered.batches:
            self._note_digits(batch, streams)
        digits = max(self._digits.values(), default=6)
        times = self._times(ts_ns, digits)
        lines = [lines[at] for at in ordered.order.tolist()]
        lines = lines if times[0] == "" else list(map("%s %s".__mod__, zip(times, lines, strict=True)))
        self._numbers |= sum(stream.kind is StreamKind.PACKETS for stream in streams.values()) > 1
        if not self._numbers:
            return lines
        heads = [head for batch in ordered.batches for head in self._heads(batch, streams)]
        heads += [f"{self._named(streams[gap.stream])}{'-':>5}" for gap in gaps]
        return [f"{heads[at]}  {line}" for at, line in zip(ordered.order.tolist(), lines, strict=True)]

    def _heads(self, batch: Batch, streams: Mapping[int, Stream]) -> list[str]:
        named = {one: self._named(streams[one]) for one in np.unique(stream_ids(batch)).tolist()}
        rows = zip(stream_ids(batch).tolist(), frame_numbers(batch), strict=True)
        return [f"{named[one]}{number:5}" for one, number in rows]

    def _named(self, stream: Stream) -> str:
        return f"{clean(stream.file)}:" if self._several else ""

    def _note_digits(self, batch: Batch, streams: Mapping[int, Stream]) -> None:
        file = streams[batch.stream].file
        if file not in self._digits:
            self._digits[file] = 9 if (batch.ts_ns[batch.ts_ns != NO_TIME] % 1000).any() else 6

    def _add_loss(self, gap: Gap, file: str) -> None:
        before = self._lost.get(file, 0)
        self._lost[file] = None if before is None or gap.lost is None else before + gap.lost

    def close(self) -> None:
        """Report the losses of each file on stderr."""
        for file, lost in self._lost.items() if self._json is None else ():
            say(f"{file!r} says that {plural(lost, 'packet')} got lost while it was captured")
