"""`nettop events`: conntrack events as they happen or as they were recorded, with losses where they occurred."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator

import numpy as np

from nettop import arguments
from nettop.batch import Batch, Gap, Item, Stream, StreamAdded, Text
from nettop.columns import Strings
from nettop.console import say
from nettop.decode.conntrack.decoder import ConntrackDecoder
from nettop.decode.sysctls import sysctl_values
from nettop.errors import EXIT_OK, BrokerError
from nettop.headless.damage import damage
from nettop.headless.load import final_code, recorded, report_errors
from nettop.headless.missing_data import COUNTS, NO_EVENTS, NOT_COUNTED
from nettop.headless.pushdown import in_kernel
from nettop.headless.streaming import LineOutput, Stop, arriving, sources
from nettop.model.events.lines import EventLines, gap_json
from nettop.model.events.rows import without_row
from nettop.model.filter.expression import Filter, parse
from nettop.model.ledger import Ledger
from nettop.model.sysctls import ACCOUNTING
from nettop.pipeline import feeds
from nettop.pipeline.ingest import Plumbing
from nettop.pipeline.live_sources import LiveSources
from nettop.text.times import TimeTexts
from nettop.text.units import clock, plural


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `nettop events`."""
    arguments.add(parser, "--json", "--filter", "--time", "-v --verbose", *arguments.UNTIL, "--buffer")
    arguments.add(parser, *arguments.LIVE, "-r --read")


def run(options: argparse.Namespace) -> int:
    """Print until the count, the duration, Ctrl-C or the recording's end. Return the exit code of the contract."""
    display_filter = parse(options.filter, "event")
    printer = EventPrinter(display_filter, options.json, options.count, options.time)
    code = _replay(options.read, printer) if options.read else _live(options, printer, display_filter)
    return final_code(printer.ledger, code, options.fail_on_loss)


def _replay(path: str, printer: EventPrinter) -> int:
    code = EXIT_OK
    for item in recorded(path):
        printer.apply([item])
        code = code or damage(path, item)
        if printer.full:
            break
    printer.flush()
    if not (code or printer.heard):
        say(f"{path!r} holds {NO_EVENTS}")
    return code


def _live(options: argparse.Namespace, printer: EventPrinter, display_filter: Filter | None) -> int:
    plumbing = Plumbing()
    code = EXIT_OK
    with sources(options, plumbing) as live:
        stop = Stop(options.duration)
        _listen(live, options.buffer or feeds.EVENT_RCVBUF, in_kernel(options, display_filter, dumps=False).program)
        if display_filter is not None and not COUNTS.isdisjoint(display_filter.columns):
            live.watch(feeds.SYSCTLS, once=True)
        for items in arriving(live, plumbing, stop):
            _report_missing_counts(items)
            printer.apply(items)
            printer.flush()
            code = code or report_errors(items)
            if printer.full:
                stop.set()
    return code


def _listen(live: LiveSources, rcvbuf: int, program: bytes) -> None:
    """Watch the events that the BPF program passes, or all events if the kernel has no room for the program."""
    try:
        live.events(rcvbuf, program)
    except BrokerError:
        if not program:
            raise
        live.events(rcvbuf)


def _report_missing_counts(items: Iterable[Item]) -> None:
    for item in items:
        if isinstance(item, Text) and sysctl_values(item.body).get(ACCOUNTING) == "0":
            say(NOT_COUNTED)


class EventPrinter:
    """Decodes, formats and prints conntrack events, a batch at a time. `full` is set after `count` lines."""

    def __init__(self, display_filter: Filter | None, as_json: bool, count: int, time_format: str = "auto") -> None:
        self.ledger = Ledger()
        self.full = False
        self._filter, self._json, self._remaining = display_filter, as_json, count or None
        strings = Strings()
        self._decode = ConntrackDecoder(strings)
        self._times = TimeTexts(time_format)
        self._format = EventLines(strings, lambda code: self._labels[code], None if as_json else self._times)
        self._labels: list[str] = []
        self._streams: dict[int, tuple[Stream, int]] = {}
        self._out = LineOutput()

    def apply(self, items: Iterable[Item]) -> None:
        """Format the items of conntrack event streams. All others are ignored."""
        for item in items:
            if isinstance(item, StreamAdded) and item.stream.name == feeds.EVENTS.stream:
                self._labels.append(item.stream.netns)
                self._streams[item.stream.id] = item.stream, len(self._labels) - 1
            if getattr(item, "stream", None) in self._streams or isinstance(item, StreamAdded):
                self.ledger.add(item)
                self._print(list(self._lines(item)))

    @property
    def heard(self) -> bool:
        """True if there was a stream of conntrack events."""
        return bool(self._streams)

    def flush(self) -> None:
        """Write the formatted lines."""
        self._out.flush()

    def _print(self, lines: list[str]) -> None:
        if self._remaining is not None:
            lines = lines[: self._remaining]
            self._remaining -= len(lines)
            self.full = not self._remaining
        self._out.add(lines)

    def _lines(self, item: Item) -> Iterator[str]:
        if isinstance(item, Batch):
            netns = self._streams[item.stream][1]
            decoded = self._decode(item)
            self.ledger.add_unreadable(item.stream, without_row(item, decoded))
            yield from self._format(decoded, netns, self._filter, time.time_ns())
        elif isinstance(item, Gap):
            stream = self._streams[item.stream][0]
            yield gap_json(item, stream.name, stream.netns) if self._json else gap_text(item, self._times)


def gap_text(gap: Gap, times: TimeTexts) -> str:
    """`12:04:30.130 GAP 1,204 events lost (kernel) until 12:04:30.180`."""
    (began,) = times(np.array([gap.from_ns]), 3)
    return f"{began} GAP     {plural(gap.lost, 'event')} lost ({gap.why.value}) until {clock(gap.to_ns, 3)}".lstrip()
