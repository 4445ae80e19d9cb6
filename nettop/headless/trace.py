"""`nettop trace`: packets on their way through the chains, each with the rules it met and the one that ended it."""

from __future__ import annotations

import argparse
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from json import dumps

import numpy as np

from nettop import arguments
from nettop.batch import Batch, Gap, Item, PacketMeta, item_time
from nettop.console import say
from nettop.errors import EXIT_OK, BrokerError, UsageError
from nettop.headless.damage import damage
from nettop.headless.load import final_code, recorded, report_errors
from nettop.headless.rule_reading import RULE_FEEDS, SETTLE_S, VERDICT_MAPS, Settled
from nettop.headless.streaming import WAIT_S, LineOutput, Stop, arriving, sources
from nettop.model.events.lines import gap_json
from nettop.model.filter.expression import parse
from nettop.model.traces.ends import DIGITS
from nettop.model.traces.journey import Journey
from nettop.model.traces.lines import chains_left_out, late_line, late_object, lines, objects, untraced
from nettop.model.traces.match import matches
from nettop.pipeline import feeds
from nettop.pipeline.engine import Engine
from nettop.pipeline.ingest import Plumbing
from nettop.pipeline.live_sources import LiveSources
from nettop.text.sanitize import clean
from nettop.text.times import TimeTexts
from nettop.text.units import duration, plural

RATE, SECONDS = 50, 3600  # defaults: packets a second, and the time after which a trace ends
# A packet waits so long for the words of its rules, and for the kernel's drop reason. In a recording the words may be
# those of the next keyframe.
_WORDS_NS, _RECORDED_WORDS_NS = 2_000_000_000, 600_000_000_000
_REASONS_NS = 1_500_000_000  # a trace that was stopped waits so long for the drop reasons of its last packets


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `nettop trace`."""
    help_text = "the packets to trace: host, net, port, protocol, device"
    parser.add_argument("expression", metavar="EXPR", nargs="?", default="", help=help_text)
    parser.add_argument("--syn", action="store_true", help="only packets that open a TCP connection")
    parser.add_argument("--bridge", action="store_true", help="trace the frames of bridges, too")
    parser.add_argument("--ingress", action="store_true", help="start at the ingress hook of devices")
    rate_help = f"mark at most N packets a second (default: {RATE})"
    parser.add_argument("--rate", type=arguments.count, default=RATE, metavar="N", help=rate_help)
    arguments.add(parser, "--json", "--time", *arguments.UNTIL, *arguments.LIVE, "-r --read")


def run(options: argparse.Namespace) -> int:
    """Trace until the count, the duration or Ctrl-C, or print what was recorded. Return the exit code of the contract.

    Raises UsageError for an expression of which nothing can be traced.
    """
    return _replay(options) if options.read else _live(options)


def _replay(options: argparse.Namespace) -> int:
    if options.expression:
        raise UsageError("a recording has the packets that were traced", "leave the expression out")
    engine, code = Engine(), EXIT_OK
    engine.traces.ended = deque()  # none may leave it before it is printed
    printer = JourneyPrinter(engine, options.json, options.count, options.time, _RECORDED_WORDS_NS)
    for item in recorded(options.read):
        code = code or damage(options.read, item)
        if not (isinstance(item, Batch) and isinstance(item.meta, PacketMeta)):
            printer.apply([item], item_time(item) or 0)
        if printer.full:
            break
    printer.finish()
    if not (code or engine.traces.count):
        say(f"{options.read!r} holds no traced packets: `nettop record` keeps those that are traced meanwhile")
    return final_code(engine.ledger, code, options.fail_on_loss)


def _live(options: argparse.Namespace) -> int:
    parsed = parse(options.expression, "trace")
    if parsed is None:
        raise UsageError("nothing to trace", "say what, as in `nettop trace 'host 10.0.0.5 and tcp port 443'`")
    found, plumbing = matches(parsed, syn=options.syn), Plumbing()
    with sources(options, plumbing, read_only=options.read_only) as live:
        engine = Engine(live.netns.label)
        printer = JourneyPrinter(engine, options.json, options.count, options.time)
        code = _read_rules(live, plumbing, engine)
        stop, legacy = Stop(options.duration or SECONDS), _Legacy(live, engine)
        live.watch(*feeds.TRACING, feeds.LEGACY_TEXTS)
        legacy.serve()
        seconds = int(options.duration or SECONDS) + 1
        trace, engine.traces.table = live.broker.start_trace(
            live.netns, found, per_second=options.rate, seconds=seconds, bridge=options.bridge, ingress=options.ingress
        )
        say(_notice(options, engine.traces.table))
        also = [word for word in ("ingress", "bridge") if getattr(options, word)]
        if left_out := [f"{names} (--{word})" for word, names in chains_left_out(engine.ruleset.picture, also)]:
            say(f"not traced, though packets may end there: {', '.join(left_out)}")
        ends = _StopWithReasons(stop, live, engine)
        for items in arriving(live, plumbing, ends, lambda: _stop(live, trace)):
            printer.apply(items, time.time_ns())
            legacy.serve()
            code = code or report_errors(items)
            if printer.full:
                ends.now = True
        printer.finish()
    return final_code(engine.ledger, code, options.fail_on_loss)


class _StopWithReasons:
    """A Stop that takes effect once the drop reasons of earlier packets have come, or are overdue."""

    def __init__(self, stop: Stop, live: LiveSources, engine: Engine) -> None:
        self._stop, self._live, self._engine = stop, live, engine
        self._since_ns = 0  # the stop is set
        self.now = False  # the stream must end, without its drop reasons

    def is_set(self) -> bool:
        """Return whether the stream must end."""
        if self.now or not self._stop.is_set():
            return self.now
        if not self._since_ns:
            self._since_ns = time.time_ns()
            self._live.poke(feeds.DROP_RECORDS)
        traces = self._engine.traces
        waits = any(True for _ in traces.open()) or not all(map(traces.is_complete, traces.ended))
        is_over = traces.drops.are_known(self._since_ns) or time.time_ns() > self._since_ns + _REASONS_NS
        return is_over or not waits

    def wait_s(self) -> float:
        """Return the time in seconds that a read may wait before is_set() is checked again."""
        return WAIT_S if self._since_ns else self._stop.wait_s()


def _stop(live: LiveSources, trace: int) -> None:
    """End the trace, and report the packets that it left out."""
    with suppress(BrokerError):  # it has ended, which is reported already
        if left_out := untraced(live.broker.stop_trace(trace)):
            say(left_out)


class _Legacy:
    """The rules and the records of iptables-legacy while a trace runs."""

    def __init__(self, live: LiveSources, engine: Engine) -> None:
        self._live, self._engine = live, engine
        self._is_asked = False  # for the records

    def serve(self) -> None:
        """Read the records once there are rules, or report why not; read the rules again for packets that met some."""
        if self._engine.traces.wants_legacy():
            self._live.poke(feeds.LEGACY_TEXTS)
        if self._is_asked or not self._engine.ruleset.has_legacy():
            return
        self._is_asked = True
        try:
            self._live.trace_log()
        except BrokerError as error:
            say(f"iptables-legacy has rules here, and their steps are not seen: {error}")


def _notice(options: argparse.Namespace, table: str) -> str:
    until = duration(options.duration or SECONDS)
    rate = f"at most {plural(options.rate, 'packet')} a second"
    return f"tracing {options.expression}: {rate}, for {until}, by table inet {table}, which ends with this command"


def _read_rules(live: LiveSources, plumbing: Plumbing, engine: Engine) -> int:
    """Read the rules and devices, so that the first packet's steps have words. Return the exit code."""
    live.watch(*RULE_FEEDS, VERDICT_MAPS, feeds.ROUTES, feeds.ROUTE_EVENTS)
    settled, until = Settled(), time.monotonic() + SETTLE_S
    sets = engine.ruleset.raw.sets
    while plumbing.alive() and not (settled(engine) and (sets.is_listed or time.monotonic() > until)):
        for item in plumbing.handoff.get(WAIT_S)[1]:
            engine.apply(item, item_time(item) or time.time_ns())
    return report_errors(engine.failures)


class JourneyPrinter:
    """Prints the journeys that have ended. `full` is set after `count` of them."""

    def __init__(self, engine: Engine, as_json: bool, count: int, time_format: str, words_ns: int = _WORDS_NS) -> None:
        self.full, self._words_ns, self._printed = False, words_ns, 0
        self._engine, self._json, self._remaining = engine, as_json, count or None
        self._times = TimeTexts(time_format)
        self._out = LineOutput()

    def apply(self, items: Iterable[Item], now_ns: int) -> None:
        """Apply items and print what has ended."""
        for item in items:
            self._engine.apply(item, item_time(item) or now_ns)
            stream = self._engine.streams.get(item.stream) if isinstance(item, Gap) else None
            if stream is not None and isinstance(item, Gap) and stream.name == feeds.TRACES.stream:
                self._lost(item)
        self._engine.traces.settle(now_ns)
        self._print_late()
        self._print(now_ns - self._words_ns)
        self._out.flush()

    def finish(self) -> None:
        """Print the packets that ended while the trace was stopped, and those that are on their way."""
        self._engine.traces.cut()
        latest = 1 << 62
        self._engine.traces.settle(latest)
        self._print(latest)
        self._out.flush()

    def _lost(self, gap: Gap) -> None:
        if self._json:
            self._out.add([gap_json(gap, feeds.TRACES.stream, self._engine.netns)])
        else:
            self._out.add([f"GAP {plural(gap.lost, 'trace record')} lost ({gap.why.value})"])

    def _print(self, patience_ns: int) -> None:
        """Print the journeys by number, up to one on its way, or one not complete that ended after `patience_ns`."""
        traces = self._engine.traces
        while traces.ended and not self.full:
            journey = traces.ended[0]
            complete = traces.worded(journey) and traces.is_complete(journey)
            if not complete and journey.last_ns > patience_ns:
                return
            if any(other.number < journey.number for other in traces.open()):
                return
            traces.ended.popleft()
            self._out.add(list(self._lines(journey)))
            self._printed = journey.number
            if self._remaining is not None:
                self._remaining -= 1
                self.full = not self._remaining

    def _print_late(self) -> None:
        """Print the packets that were dropped after they had been printed."""
        late = self._engine.traces.drops.late
        while late:
            if (journey := late.popleft()).number <= self._printed:
                self._out.add([dumps(late_object(journey, self._engine.netns)) if self._json else late_line(journey)])

    def _lines(self, journey: Journey) -> Iterator[str]:
        if self._json:
            yield from map(dumps, objects(journey, self._engine.netns))
        else:
            (began,) = self._times(np.array([journey.ts_ns]), DIGITS)
            yield from map(clean, lines(journey, began))
            yield ""
