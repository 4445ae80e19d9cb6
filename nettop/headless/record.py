"""`nettop record`: packets, conntrack, rules and counters in one pcapng file, and a summary with all losses."""

from __future__ import annotations

import argparse
import ctypes
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from nettop import arguments
from nettop.batch import Batch, DumpMark, End, Gap, Item, PacketMeta, Stream, StreamAdded, Text, select_rows
from nettop.broker.capture_filter.libpcap import compile_program
from nettop.broker.client import Broker
from nettop.console import say
from nettop.decode.topology.namespaces import decode_namespaces
from nettop.errors import EXIT_FAILED, EXIT_LOSS, EXIT_OK, NettopError
from nettop.headless.streaming import WAIT_S, Stop, arriving, finish, sources
from nettop.kinds import StreamKind, TextKind
from nettop.linux.linktypes import LINKTYPE_ETHERNET
from nettop.model.ledger import Ledger
from nettop.model.ruleset.texts import IPSET_WORDS
from nettop.pipeline import feeds
from nettop.pipeline.captures import CaptureRequest, OpenRing
from nettop.pipeline.ingest import Plumbing
from nettop.pipeline.live_sources import LiveSources
from nettop.pipeline.map_sources import MapSources
from nettop.pipeline.recorder import Recorder
from nettop.recording import pcap
from nettop.recording.output import OutputClosed
from nettop.recording.rotation import Limits, RecordingFiles
from nettop.session.own_ssh import Connection, leaving_out, own_session
from nettop.text.units import plural, scaled

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT = 32 << 20  # bytes of freed memory that each heap keeps
KEYFRAME_WAIT_S = 5.0  # how much longer a recording runs that would end before its first keyframe is whole


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `nettop record`."""
    parser.add_argument("-w", "--write", metavar="FILE", required=True, help="the recording ('-': stdout)")
    arguments.add(parser, *arguments.CAPTURE, *arguments.LIVE, *arguments.UNTIL)
    parser.add_argument("--force", action="store_true", help="overwrite FILE if it is a capture")
    number, seconds = arguments.count, arguments.seconds
    parser.add_argument(
        "--keyframe-seconds",
        type=seconds,
        default=300.0,
        metavar="S",
        help="record the table, rules and counters every S seconds",
    )
    parser.add_argument("--rotate-bytes", type=number, default=0, metavar="N", help="begin a new file after N bytes")
    parser.add_argument(
        "--rotate-seconds", type=seconds, default=0.0, metavar="S", help="begin a new file every S seconds"
    )


def run(options: argparse.Namespace) -> int:
    """Record until the count, the duration, Ctrl-C or a failure. Return the exit code of the contract."""
    if options.capture_filter:
        compile_program(LINKTYPE_ETHERNET, options.capture_filter, options.snaplen)  # FilterError before anything opens
    if pcap.named(options.write):
        say(f"{options.write!r} becomes pcapng: a recording has more than packets (`nettop read FILE -w` makes pcap)")
    _reuse_memory()
    ssh = own_session()  # before the drop: afterwards it cannot be read
    monitor = RecordingMonitor(options.count)
    plumbing = Plumbing(tap=monitor.limit)
    write = "" if options.write == "-" else options.write
    with sources(options, plumbing, write, options.force) as live:
        request = _request(options, live, ssh)
        rings = _open_rings(live, request)
        monitor.stop = Stop(options.duration)  # from here on a signal ends the file in good order
        output = open_output(options, live.broker)
        recorder = Recorder(output, plumbing.seq, lambda reason: monitor.end(), int(options.keyframe_seconds * 1e9))
        host_map = live.host_map()
        monitor.connect(live, host_map, recorder, output, options.keyframe_seconds)
        plumbing.record(recorder)
        try:
            _begin(options, live, host_map, request, rings)
            for items in arriving(live, plumbing, monitor, output.stop_rotation):
                monitor.apply(items)
        finally:
            finish(live, plumbing)
            plumbing.stop_recording()
            written = _closed(recorder, options.write)
        monitor.apply(recorder.gaps)
    say(monitor.summary(recorder, output.total, output.name))
    return monitor.code(options.fail_on_loss) if written else EXIT_OK


def _reuse_memory() -> None:
    """Have freed memory reused: otherwise each batch costs hundreds of page faults, half of our time in the kernel."""
    with suppress(AttributeError):  # another libc
        libc = ctypes.CDLL(None)
        for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            libc.mallopt(parameter, _KEPT)


def _closed(recorder: Recorder, path: str) -> bool:
    """Close the recording. Return False if the reader of stdout is gone, which is a normal end."""
    try:
        recorder.close()
    except OutputClosed:
        if path != "-":
            raise
        return False
    return True


def _request(options: argparse.Namespace, live: LiveSources, ssh: Connection | None) -> CaptureRequest:
    """Return what to capture: without the user's own ssh session where that is."""
    session = ssh if live.broker.is_start_netns(live.netns) else None
    if session is not None:
        say(f"your own ssh session from {session[0]}:{session[1]} is left out")
    expression = leaving_out(options.capture_filter, session)
    return CaptureRequest(tuple(options.interface or ()), expression, options.snaplen)


def _open_rings(live: LiveSources, request: CaptureRequest) -> list[OpenRing]:
    """Open the rings. Called before a file exists, since a wrong name must not leave one."""
    live.captures.report = say
    rings = live.captures.open(request)
    if not rings:
        say("no such device is up here: none is captured until one comes up")
    return rings


def _begin(
    options: argparse.Namespace, live: LiveSources, host_map: MapSources, request: CaptureRequest, rings: list[OpenRing]
) -> None:
    live.captures.run(request, rings)
    for feed in (feeds.EVENTS, *feeds.EVERYWHERE, *feeds.SHOWN, feeds.TABLE, feeds.TRACES):
        live.watch(feed, every_s=feed.recorded_s(options.keyframe_seconds))
    host_map.start()
    live.captures.look()  # a device may have come up since the rings were opened


def open_output(options: argparse.Namespace, broker: Broker) -> RecordingFiles:
    """Open the output that the options name. NettopError if it exists and may not be overwritten."""
    if options.write == "-":
        if os.isatty(1):
            raise NettopError("a recording is not for a terminal", "redirect stdout, or name a file with -w")
        return RecordingFiles(lambda name: os.dup(1), "stdout", time.monotonic_ns)
    limits = Limits(options.rotate_bytes or None, int(options.rotate_seconds * 1e9) or None)
    return RecordingFiles(broker.open_output, options.write, time.monotonic_ns, limits)


class RecordingMonitor:
    """The losses and failures of a recording. Requests missing data, and stops after `count` packets (0: never)."""

    def __init__(self, count: int) -> None:
        self.stop: Stop | None = None
        self.ledger = Ledger()
        self.failures: list[str] = []
        self.missing: set[str] = set()  # texts that could not be read, with the reason
        self._texts: set[TextKind] = set()  # those that were read
        self._legacy: Callable[[], None] = lambda: None  # called when the text of legacy tables arrives
        self._ipsets: Callable[[], None] = lambda: None  # called when the text of rules names one
        self._resync: Callable[[], None] = lambda: None  # called when events were lost
        self._follow: Callable[[Text], None] = lambda text: None  # called with each list of namespaces
        self._remaining = count or None
        # Kinds of the first keyframe that have not been read: without them the rules and flows would be unknown.
        awaited = feeds.TABLE, feeds.NFT, *feeds.RULE_TEXTS, feeds.NAMESPACES
        self._awaited = {kind for feed in awaited for kind in feed.kinds()}
        self._awaited_until: float | None = None
        self._events: set[int] = set()
        self._captures: set[int] = set()
        self._running: set[int] = set()

    def connect(
        self, live: LiveSources, host_map: MapSources, recorder: Recorder, output: RecordingFiles, keyframe_s: float
    ) -> None:
        """Set up further requests: the table after lost events, legacy tables, IP sets, keyframes in new files."""

        def keyframe() -> None:
            recorder.keyframe()
            live.poke(*feeds.KEYFRAMES)
            host_map.refresh()

        legacy_s = feeds.LEGACY_TEXTS.recorded_s(keyframe_s)
        self._legacy = lambda: live.watch(feeds.LEGACY_TEXTS, every_s=legacy_s)
        self._ipsets = lambda: live.watch(feeds.IPSET_DUMPS, every_s=keyframe_s)
        self._resync = lambda: live.poke(feeds.TABLE)
        self._follow = lambda text: host_map.follow(decode_namespaces(text).namespaces)
        output.rotated = keyframe

    def end(self) -> None:
        """Stop recording. Called from any thread."""
        if self.stop is not None:
            self.stop.set()

    def is_set(self) -> bool:
        """Return whether to end now: after a request to stop, once the first keyframe is whole or took too long."""
        if self.stop is None or not self.stop.is_set():
            return False
        if self._awaited_until is None:
            self._awaited_until = time.monotonic() + KEYFRAME_WAIT_S
        return not self._awaited or time.monotonic() >= self._awaited_until

    def wait_s(self) -> float:
        """Return the time in seconds that a read may wait before is_set() is checked again."""
        return WAIT_S if self.stop is None or self.stop.is_set() else self.stop.wait_s()

    def limit(self, items: list[Item]) -> list[Item]:
        """Return the items for the recorder, without packets beyond `count`. Runs on the sources' threads."""
        return [self._cut(item) for item in items]

    def apply(self, items: Iterable[Item]) -> None:
        """Count losses and failures, and request the table again after lost events. Runs on the main thread."""
        for item in items:
            self.ledger.add(item)
            if isinstance(item, StreamAdded):
                self._added(item.stream)
            elif isinstance(item, End) and item.error:
                self._failed(item)
            elif isinstance(item, DumpMark) and not item.begin:
                self._awaited.discard(item.what)
            elif isinstance(item, Text):
                self._awaited.discard(item.what.value)
                self._text(item)
            elif isinstance(item, Gap) and item.stream in self._events:
                self._resync()

    def _added(self, stream: Stream) -> None:
        if stream.kind is StreamKind.PACKETS:
            self._running.add(stream.id)
            self._captures.add(stream.id)
        elif stream.name == feeds.EVENTS.stream:
            self._events.add(stream.id)

    def _text(self, text: Text) -> None:
        """Report a text that could not be read; request those of legacy tables when there are some."""
        if not text.error:
            self._texts.add(text.what)
            if text.what is TextKind.NAMESPACES:
                self._follow(text)
            if text.what in feeds.LEGACY_TEXTS.texts and text.body:
                self._legacy()
            if IPSET_WORDS in text.body:
                self._ipsets()
        elif not self.is_set():
            self._missing(text)
        elif text.what not in self._texts:
            say(f"{text.what.value} is missing in the recording, which ended before it was read")

    def _missing(self, text: Text) -> None:
        """Report a text that could not be read, once for each reason."""
        how = "incomplete" if text.body else "missing"
        reason = f"{text.what.value} is {how} in the recording: {text.error}"
        if reason not in self.missing:
            self.missing.add(reason)
            say(reason)

    def _failed(self, end: End) -> None:
        self._awaited.clear()
        self.failures.append(end.error)
        say(end.error)
        if end.stream is None:
            self._running.clear()
            self.end()
        self._running.discard(end.stream)

    def _cut(self, item: Item) -> Item:
        if self._remaining is None or not isinstance(item, Batch) or not isinstance(item.meta, PacketMeta):
            return item
        count = min(self._remaining, len(item))
        self._remaining -= count
        if not self._remaining:
            self.end()
        return item if count == len(item) else select_rows(item, slice(0, count))

    def summary(self, recorder: Recorder, size: int, name: str) -> str:
        """`50,000 packets, 5,021 netlink messages to x.pcapng (12.4MB); lost 0`."""
        packets = sum(n for stream, n in recorder.records.items() if stream in self._captures)
        others = sum(recorder.records.values()) - packets
        totals = f"{plural(packets, 'packet')}, {plural(others, 'netlink message')}"
        return f"{totals} to {name} ({scaled(size)}B); {self.ledger.line()}"

    def code(self, fail_on_loss: bool) -> int:
        """Return the exit code of the contract."""
        if self.missing or (self.failures and not self._running):
            return EXIT_FAILED
        return EXIT_LOSS if fail_on_loss and self.ledger.any_loss() else EXIT_OK
