"""The trace that a live session runs: its table on the host, and its limits."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from nettop.broker.client import Broker
from nettop.errors import BrokerError
from nettop.kinds import TRACE_MARK, TRACE_MARKING
from nettop.model.filter.expression import parse
from nettop.model.ruleset.picture import NFT
from nettop.model.ruleset.rule_tree import own_cells
from nettop.model.ruleset.ruleset import Ruleset
from nettop.model.traces.fields import journey_fields
from nettop.model.traces.journeys import Keep
from nettop.model.traces.lines import chains_left_out, untraced
from nettop.model.traces.match import matches
from nettop.pipeline import feeds
from nettop.pipeline.engine import Engine
from nettop.pipeline.live_sources import LiveSources
from nettop.session.run import Run
from nettop.session.status import TraceRequest, Tracing

_WHILE_TRACING = feeds.DROP_RECORDS, feeds.TRACE_LOG, feeds.LEGACY_TEXTS
_LAST_RECORDS_NS = 2_000_000_000  # after its end, the records and drop reasons of its last packets come


@dataclass(slots=True, eq=False)
class RunningTrace:
    """The trace that runs."""

    number: int  # of the broker
    tracing: Tracing
    has_log: bool  # the records of iptables-legacy are read, or were refused
    found_ns: int = 0  # since then all packets to find have ended; 0: not yet


class Tracer:
    """At most one trace at a time. `start` and `stop` raise BrokerError; they are called on the control thread."""

    def __init__(
        self, broker: Broker, note: Callable[[str], None], act: Callable[[Callable[[], None]], None] = lambda _: None
    ) -> None:
        """`note` reports what a trace did not see. `act` calls a function on the control thread, later."""
        self._broker, self._note, self._act = broker, note, act
        self._running: RunningTrace | None = None
        self._sources: LiveSources | None = None  # of the namespace traced

    @property
    def tracing(self) -> Tracing | None:
        """The trace that runs now; from any thread."""
        running = self._running
        return None if running is None or running.tracing.until_ns <= time.time_ns() else running.tracing

    def start(self, sources: LiveSources, run: Run, request: TraceRequest) -> None:
        """Trace these packets in place of those traced so far. UsageError if none can match."""
        found, only = matches(parse(request.expression, "trace"), syn=request.syn), keep(request.only)
        self.stop()
        self._sources = sources
        sources.watch(*feeds.TRACING, feeds.LEGACY_TEXTS)
        if has_log := run.waited(lambda engine, now_ns: engine.ruleset.has_legacy()):
            self._read_log(sources)
        run.on_models(lambda engine, now_ns: engine.traces.begin("", only, request.count))
        try:
            number, table = self._broker.start_trace(
                sources.netns,
                found,
                per_second=request.per_second,
                seconds=request.seconds,
                bridge="bridge" in request.also,
                ingress="ingress" in request.also,
            )
        except BrokerError:
            sources.stop(*_WHILE_TRACING)
            raise
        run.on_models(lambda engine, now_ns: setattr(engine.traces, "table", table))
        until_ns = time.time_ns() + request.seconds * 1_000_000_000
        self._running = RunningTrace(number, Tracing(request, table, until_ns), has_log)
        left_out = run.waited(lambda engine, now_ns: list(chains_left_out(engine.ruleset.picture, request.also)))
        for _, names in left_out:
            self._note(f"not traced, though packets may end there: {names} (the dialog of `t` has them)")

    def _read_log(self, sources: LiveSources) -> None:
        """Read the records of iptables-legacy, or report why not."""
        try:
            sources.trace_log()
        except BrokerError as error:
            self._note(f"iptables-legacy has rules here, and their steps are not seen: {error}")

    def stop(self, ended: RunningTrace | None = None) -> None:
        """Remove the table from the host, or only if `ended` is the one that runs. Packets traced so far are kept."""
        running = self._running
        if running is not None and self._sources is not None and ended in (None, running):
            self._running = None
            with suppress(BrokerError):  # its namespace or the broker has ended, and the table with it
                if left_out := untraced(self._broker.stop_trace(running.number)):
                    self._note(left_out)
            self._sources.stop(*_WHILE_TRACING)

    def look(self, engine: Engine, now_ns: int) -> RunningTrace | None:
        """Note what the models know of the trace. Return it if its time is over or it has all packets to find."""
        running = self._running
        engine.traces.note_over(self.tracing is None)
        if running is None or (sources := self._sources) is None:
            return None
        if engine.traces.wants_legacy():
            sources.poke(feeds.LEGACY_TEXTS)
        if engine.ruleset.has_legacy() and not running.has_log:
            running.has_log = True
            self._act(lambda: self._read_log(sources) if self._running is running else None)
        tracing = running.tracing
        over = over_limit(engine.ruleset, tracing.table)
        running.tracing = replace(tracing, now=engine.traced.per_second(now_ns), over=over)
        found_all = tracing.table == engine.traces.table and 0 < tracing.request.count <= engine.traces.found
        running.found_ns = (running.found_ns or now_ns) if found_all else 0
        has_reasons = found_all and engine.traces.drops.are_known(running.found_ns)
        ends_ns = (running.found_ns or tracing.until_ns) + _LAST_RECORDS_NS
        return running if has_reasons or now_ns > ends_ns else None


def keep(only: str) -> Keep | None:
    """Return the predicate of a display filter of traced packets; None: all of them."""
    display_filter = parse(only, "traced packet")
    return None if display_filter is None else lambda journey: bool(display_filter.mask(journey_fields([journey]))[0])


def over_limit(ruleset: Ruleset, table: str) -> int | None:
    """Return how many packets that matched the limit left unmarked, when rules were last read; None: not known."""
    marked = _counted(ruleset, table, TRACE_MARK)
    matched = [_counted(ruleset, table, chain) for chain in TRACE_MARKING]
    return None if marked is None or None in matched else max(0, sum(filter(None, matched)) - marked)


def _counted(ruleset: Ruleset, table: str, chain: str) -> int | None:
    index = ruleset.picture.by_name.get((NFT, "inet", table, chain))
    if index is None:
        return None
    cells = own_cells(ruleset.picture, index)[:-1]  # without the policy's
    return int(ruleset.counts.packets[cells].sum())
