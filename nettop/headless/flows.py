"""`nettop flows`: the conntrack table once, sorted, filtered or grouped, as text or JSON Lines."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from nettop import arguments
from nettop.batch import DumpMark, Item, Text
from nettop.console import say
from nettop.errors import EXIT_FAILED, UsageError
from nettop.headless.load import engine_of, live_engine, settled
from nettop.headless.missing_data import OWNERS, RATES, lacking, not_recorded
from nettop.headless.streaming import Lines, in_kernel
from nettop.model.filter.expression import Filter, parse
from nettop.model.flow_groups.table import FlowGroups, grouping
from nettop.model.flows.table import FlowTable
from nettop.model.table import SortKey, ViewSpec
from nettop.pipeline import feeds
from nettop.pipeline.engine import Engine
from nettop.pipeline.live_sources import LiveSources

_RATE_EVERY_S = 1.0  # rates come from two dumps, this far apart
_OWNERS = (feeds.ROUTES, feeds.PROCESSES)  # what a flow's process takes
_LARGEST = (SortKey("flows"),)  # the order of groups when none is asked for
_TRIES = 8  # incomplete dumps that are put up with
_NONE = "no flows: conntrack sees a namespace's traffic only when a rule there needs it (ct state, NAT)"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be shown, in which order, and which columns that takes."""

    wanted: Filter | None
    sort: tuple[SortKey, ...]
    columns: frozenset[str]

    @property
    def rates(self) -> bool:
        """Whether it takes rates."""
        return not RATES.isdisjoint(self.columns)

    @property
    def owners(self) -> bool:
        """Whether it takes the processes."""
        return not OWNERS.isdisjoint(self.columns)


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `nettop flows`."""
    arguments.as_json(parser)
    arguments.display_filter(parser)
    parser.add_argument("--sort", metavar="KEY", default="", help="a column: bytes, packets, rate, age, timeout, …")
    parser.add_argument(
        "--group", metavar="KEY", default="", help="add up by source, destination, service, nat, state, process, …"
    )
    parser.add_argument("-n", "--number", type=arguments.count, default=0, metavar="N", help="print the first N")
    arguments.verbose(parser)
    arguments.live(parser)
    arguments.replay(parser)


def run(options: argparse.Namespace) -> int:
    """Print the flows that match, or their groups; the exit code of the contract."""
    asked = asked_of(options)
    if options.read:
        engine, now_ns, code = engine_of(options.read)
    else:
        engine, now_ns, code = _live(options, asked)
        if not engine.flows.dumped_ns and not code:
            say("the table changed too much for a complete dump: what was read follows")
            code = EXIT_FAILED
        if not len(engine.flows) and not (code or options.json or options.filter):
            say(_NONE)
    for line in (*lacking(engine.flows, asked.columns), *(not_recorded(engine, asked.columns) if options.read else ())):
        say(line)
    out = Lines()
    for line in (_groups if options.group else _flows)(engine, options, asked, now_ns):
        out.add((line,))
    out.flush()
    return settled(engine.ledger, code)


def asked_of(options: argparse.Namespace) -> Asked:
    """What the options ask for. UsageError for what there is not."""
    wanted = parse(options.filter, "flow")
    if options.group:
        grouping(options.group)
    sort = sort_keys(options.sort, FlowGroups.sortable if options.group else FlowTable.sortable)
    columns = {options.group, *(key.key for key in sort), *(wanted.columns if wanted is not None else ())}
    return Asked(wanted, sort, frozenset(columns))


def _flows(engine: Engine, options: argparse.Namespace, asked: Asked, now_ns: int) -> Iterable[str]:
    rows = engine.flows.rows(asked.wanted, asked.sort, options.number or None, now_ns)
    if options.json:
        return engine.flows.json_lines(rows, owners=asked.owners)
    return engine.flows.text_lines(rows, rate=asked.rates, owners=asked.owners)


def _groups(engine: Engine, options: argparse.Namespace, asked: Asked, now_ns: int) -> Iterable[str]:
    height = options.number or sys.maxsize
    spec = ViewSpec((), height=height, filter=asked.wanted, sort=asked.sort or _LARGEST, group=options.group)
    return engine.groups.json_lines(spec, now_ns) if options.json else engine.groups.text_lines(spec, now_ns)


def sort_keys(text: str, known: Sequence[str] = FlowTable.sortable) -> tuple[SortKey, ...]:
    """`bytes` or `bytes,+age`: column keys, largest first, with a + smallest first. UsageError for an unknown one."""
    keys = []
    for word in filter(None, text.split(",")):
        key = word.lstrip("+-")
        if key not in known:
            raise UsageError(f"no sort key {key!r}", f"one of {' '.join(sorted(known))}")
        keys.append(SortKey(key, descending=not word.startswith("+")))
    return tuple(keys)


def _live(options: argparse.Namespace, asked: Asked) -> tuple[Engine, int, int]:
    table = replace(feeds.TABLE, every_s=_RATE_EVERY_S if asked.rates else None, share=None)
    dump_filter = in_kernel(options, asked.wanted, events=False).dump

    def begin(live: LiveSources) -> None:
        if asked.owners:
            live.watch(*_OWNERS, once=True)
        live.table(table, dump_filter)

    return live_engine(options, begin, Enough(2 if asked.rates else 1, asked.owners))


class Enough:
    """Whether as many complete dumps as are wanted have come, or the table has changed under too many.

    With `owners` the processes and the routes must have come, too, however complete.
    """

    def __init__(self, complete: int, owners: bool = False) -> None:
        self._complete, self._incomplete = complete, _TRIES
        self._missing = {kind for feed in _OWNERS for kind in feed.kinds()} if owners else set()

    def __call__(self, item: Item) -> bool:
        if isinstance(item, Text):
            self._missing.discard(item.what.value)
        elif isinstance(item, DumpMark) and not item.begin:
            self._missing.discard(item.what)
            if item.what in feeds.TABLE.kinds():
                self._complete -= item.complete
                self._incomplete -= not item.complete
        return not (self._complete and self._incomplete) and not self._missing
