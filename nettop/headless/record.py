"""`nettop record`: packets, conntrack, rules and counters into one pcapng file, and an honest last line."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable

from nettop.batch import Batch, End, Item, PacketMeta, StreamAdded, Text
from nettop.broker.client import Broker, Netns
from nettop.broker.libpcap import compile_program
from nettop.errors import EXIT_FAILED, EXIT_LOSS, EXIT_OK, NettopError
from nettop.headless.live import Stop, sources
from nettop.kinds import LINKTYPE_ETHERNET, StreamKind
from nettop.model.ledger import Ledger
from nettop.pipeline.live import LEGACY_TEXTS, LiveSources
from nettop.pipeline.plumbing import Plumbing
from nettop.pipeline.recorder import Recorder
from nettop.pipeline.ssh import leaving_out, own_session
from nettop.recording.records import batch_rows
from nettop.recording.rotation import Limits, RotatingWriter, numbered
from nettop.recording.writer import RecordingWriter
from nettop.text.sanitize import clean
from nettop.text.units import grouped, scaled


def run(options: argparse.Namespace) -> int:
    """Record until the count, the duration, Ctrl-C or a failure; the exit code of the contract."""
    if options.capture_filter:
        compile_program(LINKTYPE_ETHERNET, options.capture_filter, options.snaplen)  # FilterError before anything opens
    watch = Watch(options.count)
    plumbing = Plumbing(tap=watch.look)
    with sources(options, plumbing) as live:
        devices = options.interface or usual_devices(live.broker, live.netns)
        writer = open_writer(options, live.broker)
        stop = Stop(duration=options.duration)
        recorder = Recorder(writer, plumbing.seq, lambda why: stop.set(), int(options.keyframe_seconds * 1e9))
        watch.stop = stop
        watch.legacy = lambda: live.legacy_counters(options.keyframe_seconds)
        plumbing.record(recorder)
        try:
            _begin(options, live, devices)
            while not stop.is_set():
                items = plumbing.handoff.take(0.1)[1]
                watch.settle(items)
        finally:
            plumbing.close()
            plumbing.stop_recording()
            recorder.close()
        watch.settle(_rest(plumbing))
    print(watch.summary(recorder, writer.total, options.write), file=sys.stderr)
    return watch.code(options.fail_on_loss)


def _rest(plumbing: Plumbing) -> list[Item]:
    rest: list[Item] = []
    while items := plumbing.handoff.take(0, most=4096)[1]:
        rest += items
    return rest


def usual_devices(broker: Broker, netns: Netns) -> list[str]:
    """Every device that is up; loopback only where nothing else is."""
    up = [device.name for device in broker.devices(netns) if device.up]
    return [name for name in up if name != "lo"] or up


def _begin(options: argparse.Namespace, live: LiveSources, devices: list[str]) -> None:
    session = None if live.netns.label else own_session()
    expression = leaving_out(options.capture_filter, session)
    if session is not None:
        print(f"nettop: your own ssh session from {session[0]}:{session[1]} is left out", file=sys.stderr)
    live.events()
    live.capture(devices, expression, options.snaplen)
    live.sysctls()
    live.rules(options.keyframe_seconds)
    live.statistics(options.keyframe_seconds)
    live.table(options.keyframe_seconds)


class Output:
    """The recording's file, or its numbered files."""

    def __init__(self, writer: RecordingWriter | RotatingWriter) -> None:
        self._writer = writer
        self._before = 0
        self._last = 0

    @property
    def total(self) -> int:
        """Bytes written, of all files."""
        return self._before + self._writer.written

    def write(self, items: Iterable[Item]) -> None:
        """Append items; a new file begins where it is due."""
        if isinstance(self._writer, RecordingWriter):
            self._writer.write(items)
            return
        self._writer.write(items, time.time_ns())

    def close(self) -> None:
        """End the file in good order."""
        self._writer.close()


def open_writer(options: argparse.Namespace, broker: Broker) -> Output:
    """The output that the options name; NettopError when it exists and may not be overwritten."""
    if options.write == "-":
        if os.isatty(1):
            raise NettopError("a recording is not for a terminal", "redirect stdout, or name a file with -w")
        return Output(RecordingWriter(os.dup(1), name="stdout"))
    if not options.rotate_bytes and not options.rotate_seconds:
        return Output(RecordingWriter(broker.open_output(options.write, options.force), name=options.write))
    limits = Limits(options.rotate_bytes or None, int(options.rotate_seconds * 1e9) or None)

    def following(number: int) -> int:
        return broker.open_output(numbered(options.write, number), options.force)

    return Output(RotatingWriter(following, limits, (), time.time_ns()))


class Watch:
    """Keeps count of what is recorded, and stops at the wanted number of packets."""

    def __init__(self, count: int) -> None:
        self.stop: Stop | None = None
        self.legacy: Callable[[], None] = lambda: None  # called when legacy tables are seen
        self.ledger = Ledger()
        self.failures: list[str] = []
        self._left = count or None
        self._captures: set[int] = set()
        self._running: set[int] = set()

    def look(self, items: list[Item]) -> list[Item]:
        """On the sources' threads: what goes on to the recorder."""
        return [self._cut(item) for item in items]

    def settle(self, items: Iterable[Item]) -> None:
        """On the main thread: the account of what has come."""
        for item in items:
            self.ledger.take(item)
            if isinstance(item, StreamAdded) and item.stream.kind is StreamKind.PACKETS:
                self._running.add(item.stream.id)
                self._captures.add(item.stream.id)
            elif isinstance(item, End) and item.error:
                self._failed(item)
            elif isinstance(item, Text) and item.what in LEGACY_TEXTS and item.body:
                self._has_legacy()

    def _has_legacy(self) -> None:
        if self.stop is not None and not self.stop.is_set():
            self.legacy()

    def _failed(self, end: End) -> None:
        self.failures.append(end.error)
        print(f"nettop: {end.error}", file=sys.stderr)
        if end.stream in self._running:
            self._running.discard(end.stream)
            if not self._running and self.stop is not None:
                self.stop.set()  # the last device is gone

    def _cut(self, item: Item) -> Item:
        if self._left is None or not isinstance(item, Batch) or not isinstance(item.meta, PacketMeta):
            return item
        kept = min(self._left, len(item))
        self._left -= kept
        if not self._left and self.stop is not None:
            self.stop.set()
        return item if kept == len(item) else batch_rows(item, 0, kept)

    def summary(self, recorder: Recorder, size: int, name: str) -> str:
        """`50,000 packets and 5,021 netlink messages recorded to x.pcapng (12.4MB); lost 0`."""
        packets = sum(n for stream, n in recorder.records.items() if stream in self._captures)
        others = sum(recorder.records.values()) - packets
        where = "stdout" if name == "-" else clean(name)
        what = f"{grouped(packets)} packets, {grouped(others)} netlink messages"
        return f"nettop: {what} to {where} ({scaled(size)}B); {self.ledger.line()}"

    def code(self, fail_on_loss: bool) -> int:
        """The exit code of the contract."""
        if self.failures and not self._running:
            return EXIT_FAILED
        return EXIT_LOSS if fail_on_loss and self.ledger.any_loss() else EXIT_OK
