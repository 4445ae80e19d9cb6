"""`nettop flows`: the conntrack table once, sorted, filtered or grouped, as text or JSON Lines."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence

from nettop.batch import DumpMark, Item, Text
from nettop.columns import Strings
from nettop.errors import EXIT_FAILED, UsageError
from nettop.headless.feed import engine_of, live_engine
from nettop.headless.live import Lines, in_kernel
from nettop.kinds import TextKind
from nettop.model.filter import Filter, parse
from nettop.model.flow_groups import FlowGroups, grouping
from nettop.model.flow_index import Rows
from nettop.model.flow_lines import FlowLines
from nettop.model.flows import FlowTable
from nettop.model.view import SortKey, ViewSpec
from nettop.pipeline.engine import Engine
from nettop.pipeline.live import LiveSources
from nettop.text.flow import text_template
from nettop.text.say import say

_RATES = frozenset(("rate", "rate_up", "rate_down"))
_RATE_EVERY_S = 1.0  # rates come from two dumps, this far apart
_LARGEST = (SortKey("flows"),)  # the order of groups when none is asked for
_OWNERS = frozenset(("process", "pid"))
_TRIES = 8  # incomplete dumps that are put up with
_NONE = "no flows: conntrack sees a namespace's traffic only when a rule there needs it (ct state, NAT)"


def run(options: argparse.Namespace) -> int:
    """Print the flows that match, or their groups; the exit code of the contract."""
    wanted = parse(options.filter, "flow")
    if options.group:
        grouping(options.group)
    sort = sort_keys(options.sort, FlowGroups.sortable if options.group else FlowTable.sortable)
    rates = any(key.key in _RATES for key in sort) or (wanted is not None and "rate" in wanted.columns)
    dumps = 2 if rates else 1
    if options.read:
        engine, now_ns, code = engine_of(options.read)
    else:
        engine, now_ns, code = _live(options, dumps, wanted, _asks_for_owners(options, wanted, sort))
        if not engine.flows.dumped_ns and not code:
            say("the table changed too much for a complete dump: what was read follows")
            code = EXIT_FAILED
        if not len(engine.flows) and not (code or options.json or options.filter):
            say(_NONE)
    out = Lines()
    for line in (_groups if options.group else _flows)(engine, options, wanted, sort, now_ns):
        out.add((line,))
    out.flush()
    return code


def _flows(
    engine: Engine, options: argparse.Namespace, wanted: Filter | None, sort: tuple[SortKey, ...], now_ns: int
) -> Iterable[str]:
    rows = engine.flows.rows(wanted, sort, options.number or None, now_ns)
    return engine.flows.json_lines(rows) if options.json else text_lines(engine.flows, engine.strings, rows)


def _groups(
    engine: Engine, options: argparse.Namespace, wanted: Filter | None, sort: tuple[SortKey, ...], now_ns: int
) -> Iterable[str]:
    spec = ViewSpec((), height=options.number or sys.maxsize, filter=wanted, sort=sort or _LARGEST, group=options.group)
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


def text_lines(flows: FlowTable, strings: Strings, rows: Rows) -> list[str]:
    """One plain line a flow."""
    formatted = FlowLines(strings, flows.netns_label, text_template)
    return [line for chunk in formatted.chunks(flows.window(), rows) for line in chunk]


def _asks_for_owners(options: argparse.Namespace, wanted: Filter | None, sort: tuple[SortKey, ...]) -> bool:
    """Whether it takes the processes to answer."""
    asked = {options.group, *(key.key for key in sort), *(wanted.columns if wanted is not None else ())}
    return bool(_OWNERS & asked)


def _live(options: argparse.Namespace, dumps: int, wanted: Filter | None, owners: bool) -> tuple[Engine, int, int]:
    interval = None if dumps == 1 else _RATE_EVERY_S
    narrow = in_kernel(options, wanted, events=False).dump

    def begin(live: LiveSources) -> None:
        if owners:
            live.routes(None)
            live.processes(None)
        live.table(interval, share=None, narrow=narrow)

    return live_engine(options, begin, Enough(dumps, owners))


class Enough:
    """Whether as many complete dumps as are wanted have come, or the table has changed under too many.

    With `owners` the processes and the routes must have come, too, however complete.
    """

    def __init__(self, complete: int, owners: bool = False) -> None:
        self._complete, self._incomplete = complete, _TRIES
        self._missing = {"routes", TextKind.PROCESSES.value} if owners else set()

    def __call__(self, item: Item) -> bool:
        if isinstance(item, Text):
            self._missing.discard(item.what.value)
        elif isinstance(item, DumpMark) and not item.begin:
            self._missing.discard(item.what)
            if item.what == "conntrack":
                self._complete -= item.complete
                self._incomplete -= not item.complete
        return not (self._complete and self._incomplete) and not self._missing
