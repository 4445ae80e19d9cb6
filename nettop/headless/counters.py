"""`nettop counters`: all counters once, or all once and then those that have changed, at an interval."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from nettop import arguments
from nettop.batch import DumpMark, End, Item, Text, item_time
from nettop.console import say
from nettop.errors import UsageError
from nettop.headless.aligned import aligned, on_terminal, terminal_width
from nettop.headless.load import engine_of, final_code, live_engine, report_errors
from nettop.headless.missing_data import NO_COUNTERS
from nettop.headless.streaming import LineOutput, Stop, arriving, sources
from nettop.model.counters.cells import GROUPS
from nettop.model.counters.lines import TEXT_COLUMNS, ChangedRows, Changes, json_line, table_row, text_line
from nettop.model.counters.series import Series
from nettop.model.counters.table import CounterTable
from nettop.pipeline import feeds
from nettop.pipeline.engine import Engine
from nettop.pipeline.ingest import Plumbing
from nettop.pipeline.live_sources import LiveSources

_AT_INTERVAL = (feeds.STATISTICS, feeds.OBJECTS, *feeds.COUNTING)
_OPTIONAL = ("bytes", "byte_rate", "netns")  # columns that are left out where no counter has a value
_FIRST_S = 2.0  # the longest time that the first round waits for slow sources


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `nettop counters`."""
    arguments.add(parser, "--json")
    parser.add_argument(
        "--interval",
        type=arguments.seconds,
        default=0.0,
        metavar="S",
        help="print all once, then what has changed every S seconds",
    )
    parser.add_argument(
        "--group", action="append", default=[], metavar="G", help="only this group: conntrack, nft-counter, tcp, …"
    )
    arguments.add(parser, *arguments.UNTIL, *arguments.LIVE, "-r --read")


def run(options: argparse.Namespace) -> int:
    """Print the counters and return the exit code of the contract. UsageError for an unknown group."""
    for name in options.group:
        if name not in GROUPS:
            raise UsageError(f"no group {name!r}", f"one of {' '.join(GROUPS)}")
    if options.interval and not options.read:
        return _repeat(options)
    if options.read:
        engine, _, code = engine_of(options.read)
        if not code and not engine.counters.rows(per_cpu=options.json):
            say(f"{options.read!r} holds {NO_COUNTERS}")
            return final_code(engine.ledger, code, options.fail_on_loss)
    else:
        engine, _, code = live_engine(options, lambda live: _begin(live, None))
    CounterPrinter(options)(engine.counters)
    return final_code(engine.ledger, code, options.fail_on_loss)


def _begin(live: LiveSources, interval: float | None) -> None:
    live.watch(*_AT_INTERVAL, every_s=interval, once=interval is None)
    live.watch(feeds.SYSCTLS, once=interval is None)


def _repeat(options: argparse.Namespace) -> int:
    plumbing = Plumbing()
    with sources(options, plumbing) as live:
        engine = Engine(live.netns.label)
        stop = Stop(options.duration)
        _begin(live, options.interval)
        rounds = Rounds(options, engine)
        for items in arriving(live, plumbing, stop):
            rounds.apply(items)
            if stop.is_set():
                continue
            rounds.print_due()
            if options.count and rounds.printed >= options.count:
                stop.set()
    return final_code(engine.ledger, report_errors(engine.failures), options.fail_on_loss)


class Rounds:
    """The rounds of printing: the first when all sources have answered, or after _FIRST_S.

    Then one follows each dump of conntrack's statistics, which arrives at the interval.
    """

    def __init__(
        self, options: argparse.Namespace, engine: Engine, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.printed = 0
        self._engine, self._print, self._clock = engine, CounterPrinter(options, ChangedRows()), clock
        self._answered: set[str] = set()
        self._awaited = {kind for feed in (*_AT_INTERVAL, feeds.SYSCTLS) for kind in feed.kinds()}
        self._running: set[tuple[int, str]] = set()  # dumps that have begun: one for the elements of each set, in turn
        self._until = clock() + _FIRST_S
        self._due = False

    def apply(self, items: list[Item]) -> None:
        """Apply the items to the models, and note the rounds that end among them."""
        for item in items:
            self._engine.apply(item, item_time(item) or time.time_ns())
            if isinstance(item, DumpMark):
                self._mark(item)
            elif isinstance(item, Text):
                self._answered.add(item.what.value)
            elif isinstance(item, End) and item.error:
                self._awaited = set()

    def _mark(self, mark: DumpMark) -> None:
        if mark.begin:
            self._running.add((mark.stream, mark.what))
            return
        self._running.discard((mark.stream, mark.what))
        self._answered.add(mark.what)
        self._due = self._due or mark.what in feeds.STATISTICS.kinds()

    def print_due(self) -> None:
        """Print a round if one is due."""
        complete = self._answered >= self._awaited and not (self._awaited and self._running)
        if self._due and (complete or self._clock() >= self._until):
            self._awaited, self._due = set(), False
            self._print(self._engine.counters)
            self.printed += 1


class CounterPrinter:
    """Prints the rows of the chosen groups on stdout, after each round of text a blank line."""

    def __init__(self, options: argparse.Namespace, changes: ChangedRows | None = None) -> None:
        self._json, self._groups, self._changes = options.json, frozenset(options.group), changes
        self._line: Callable[[Series, Changes | None], str] = json_line if options.json else text_line
        self._out = LineOutput()

    def __call__(self, counters: CounterTable) -> None:
        """Print one round."""
        rows = [row for row in counters.rows(per_cpu=self._json) if not self._groups or row.key.group in self._groups]
        shown = [(row, None) for row in rows] if self._changes is None else self._changes(rows)
        if not self._json and on_terminal():
            drawn = [table_row(row, moves) for row, moves in shown]
            lines = list(aligned(TEXT_COLUMNS, drawn, terminal_width(), _OPTIONAL))
        else:
            lines = [self._line(row, moves) for row, moves in shown]
        self._out.add(lines + ([] if self._json else [""]))
        self._out.flush()
