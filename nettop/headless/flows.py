"""`nettop flows`: the conntrack table once, sorted, filtered or grouped, as text or JSON Lines."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nettop import arguments
from nettop.batch import DumpMark, Item, Text
from nettop.console import say
from nettop.errors import EXIT_FAILED, UsageError
from nettop.headless.aligned import aligned, on_terminal, terminal_width
from nettop.headless.load import engine_of, final_code, live_engine
from nettop.headless.missing_data import NO_FLOWS, OWNERS, RATES, records_flows, unknown_data, unrecorded_data
from nettop.headless.pushdown import in_kernel
from nettop.headless.streaming import LineOutput
from nettop.kinds import NO_TIME
from nettop.model.filter.expression import Filter, parse
from nettop.model.flow_groups.table import FlowGroups, grouping
from nettop.model.flows import derive
from nettop.model.flows.table import FlowTable
from nettop.model.table import SortKey, ViewSpec
from nettop.pipeline import feeds
from nettop.pipeline.engine import Engine
from nettop.pipeline.live_sources import LiveSources
from nettop.text.times import TimeTexts

_RATE_EVERY_S = 1.0  # interval of the two dumps from which rates are computed
_OWNERS = (feeds.ROUTES, feeds.PROCESSES)  # the feeds that identify a flow's process
_LARGEST = (SortKey("flows"),)  # the default order of groups
# The table's columns on a terminal, and those that are left out where no flow has a value.
_TABLE = (*("proto", "state", "original", "nat", "rate", "up", "down", "age", "timeout", "process"),
          *("flags", "zone", "mark", "helper", "labels", "netns"))  # fmt: skip
_OPTIONAL = (*_TABLE[3:], "rate_up", "rate_down", "bytes", "packets", "unreplied", "full")
_TRIES = 8  # incomplete dumps before the command gives up
_NONE = "no flows: conntrack sees a namespace's traffic only when a rule there needs it (ct state, NAT)"


@dataclass(frozen=True, slots=True)
class FlowQuery:
    """The filter, the order, and the columns that both of them and the grouping use."""

    display_filter: Filter | None
    sort: tuple[SortKey, ...]
    columns: frozenset[str]

    @property
    def rates(self) -> bool:
        """True if rates are needed."""
        return not RATES.isdisjoint(self.columns)

    @property
    def owners(self) -> bool:
        """True if processes are needed."""
        return not OWNERS.isdisjoint(self.columns)


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `nettop flows`."""
    arguments.add(parser, "--json", "--filter", "--time")
    parser.add_argument("--sort", metavar="KEY", default="", help="a column: bytes, packets, rate, age, timeout, …")
    parser.add_argument(
        "--group", metavar="KEY", default="", help="group by source, destination, service, nat, state, process, …"
    )
    parser.add_argument("-n", "--number", type=arguments.count, default=0, metavar="N", help="print the first N")
    arguments.add(parser, "-v --verbose", *arguments.LIVE, "-r --read")


def run(options: argparse.Namespace) -> int:
    """Print the flows that match, or their groups. Return the exit code of the contract.

    With --time each line of text begins with the time at which its flow began, where that is known.
    """
    query = query_of(options)
    if options.read:
        engine, now_ns, code = engine_of(options.read)
        if not code and not records_flows(engine):
            say(f"{options.read!r} holds {NO_FLOWS}")
    else:
        engine, now_ns, code = _live(options, query)
        if not engine.flows.dumped_ns and not code:
            say("the table changed too much for a complete dump: what was read follows")
            code = EXIT_FAILED
        if not len(engine.flows) and not (code or options.json or options.filter):
            say(_NONE)
    for line in (
        *unknown_data(engine.flows, query.columns),
        *(unrecorded_data(engine, query.columns) if options.read else ()),
    ):
        say(line)
    out = LineOutput()
    for line in (_groups if options.group else _flows)(engine, options, query, now_ns):
        out.add((line,))
    out.flush()
    return final_code(engine.ledger, code)


def query_of(options: argparse.Namespace) -> FlowQuery:
    """Return the query of the options. UsageError for an unknown filter, group or sort key."""
    display_filter = parse(options.filter, "flow")
    if options.group:
        grouping(options.group)
    sort = sort_keys(options.sort, FlowGroups.sortable if options.group else FlowTable.sortable)
    columns = {options.group, *(key.key for key in sort), *(display_filter.columns if display_filter else ())}
    return FlowQuery(display_filter, sort, frozenset(columns))


def _flows(engine: Engine, options: argparse.Namespace, query: FlowQuery, now_ns: int) -> Iterable[str]:
    rows = engine.flows.rows(query.display_filter, query.sort, options.number or None, now_ns)
    if options.json:
        return engine.flows.json_lines(rows, owners=query.owners)
    if options.time == "auto" and on_terminal():
        asked = {"rate": query.rates, "process": query.owners, "age": "age" in query.columns}
        keys = [key for key in _TABLE if asked.get(key, True)]
        columns = [column for key in keys for column in FlowTable.columns if column.key == key]
        return aligned(columns, engine.flows.table_rows(rows, keys, now_ns), terminal_width(), _OPTIONAL)
    lines = engine.flows.text_lines(rows, rate=query.rates, owners=query.owners)
    if options.time == "auto":
        return lines
    data = engine.flows.window()
    began_ns = np.where(derive.birth_known(data), derive.birth_ns(data), NO_TIME)[rows]
    times = TimeTexts(options.time)(began_ns, 3)
    return (f"{time} {line}".lstrip() for time, line in zip(times, lines, strict=True))


def _groups(engine: Engine, options: argparse.Namespace, query: FlowQuery, now_ns: int) -> Iterable[str]:
    height = options.number or sys.maxsize
    spec = ViewSpec((), height=height, filter=query.display_filter, sort=query.sort or _LARGEST, group=options.group)
    if options.json:
        return engine.groups.json_lines(spec, now_ns)
    if on_terminal():
        snapshot = engine.groups.snapshot(replace(spec, columns=tuple(c.key for c in FlowGroups.columns)), now_ns)
        columns = [replace(FlowGroups.columns[0], title=grouping(options.group).title), *FlowGroups.columns[1:]]
        return aligned(columns, snapshot.rows, terminal_width(), _OPTIONAL)
    return engine.groups.text_lines(spec, now_ns)


def sort_keys(text: str, known: Sequence[str] = FlowTable.sortable) -> tuple[SortKey, ...]:
    """Return the sort keys of `bytes` or `bytes,+age`: largest first, with + smallest first. UsageError if unknown."""
    keys = []
    for part in filter(None, text.split(",")):
        key = part.lstrip("+-")
        if key not in known:
            raise UsageError(f"no sort key {key!r}", f"one of {' '.join(sorted(known))}")
        keys.append(SortKey(key, descending=not part.startswith("+")))
    return tuple(keys)


def _live(options: argparse.Namespace, query: FlowQuery) -> tuple[Engine, int, int]:
    table = replace(feeds.TABLE, every_s=_RATE_EVERY_S if query.rates else None, share=None)
    dump_filter = in_kernel(options, query.display_filter, events=False).dump

    def begin(live: LiveSources) -> None:
        if query.owners:
            live.watch(*_OWNERS, once=True)
        live.dump(table, dump_filter)

    enough = EnoughDumps(2 if query.rates else 1, query.owners)
    return live_engine(options, begin, lambda engine, item: enough(item))


class EnoughDumps:
    """A predicate of items, true after `complete` complete dumps of the table, or after _TRIES incomplete ones.

    With `owners` the processes and the routes must also have arrived, complete or not.
    """

    def __init__(self, complete: int, owners: bool = False) -> None:
        self._complete, self._incomplete = complete, _TRIES
        self._missing = {kind for feed in _OWNERS for kind in feed.kinds()} if owners else set()

    def __call__(self, item: Item | None) -> bool:
        """Count the item. Return whether it is enough."""
        if isinstance(item, Text):
            self._missing.discard(item.what.value)
        elif isinstance(item, DumpMark) and not item.begin:
            self._missing.discard(item.what)
            if item.what in feeds.TABLE.kinds():
                self._complete -= item.complete
                self._incomplete -= not item.complete
        return not (self._complete and self._incomplete) and not self._missing
