"""`nettop flows`: the conntrack table once, sorted and filtered, as text or JSON Lines."""

from __future__ import annotations

import argparse
import re
import sys

from nettop.batch import DumpMark, Item
from nettop.columns import Strings
from nettop.errors import EXIT_FAILED, UsageError
from nettop.headless.feed import engine_of, live_engine
from nettop.headless.live import Lines
from nettop.model.filter import parse
from nettop.model.flow_index import Rows
from nettop.model.flow_lines import FlowLines
from nettop.model.flows import FlowTable
from nettop.model.view import SortKey
from nettop.pipeline.engine import Engine
from nettop.text.flow import text_template

_RATES = frozenset(("rate", "rate_up", "rate_down"))
_RATE_EVERY_S = 1.0  # rates come from two dumps, this far apart
_TRIES = 8  # incomplete dumps that are put up with


def run(options: argparse.Namespace) -> int:
    """Print the flows that match; the exit code of the contract."""
    wanted = parse(options.filter, "flow")
    sort = sort_keys(options.sort)
    dumps = 2 if any(key.key in _RATES for key in sort) or re.search(r"\brate", options.filter) else 1
    if options.read:
        engine, now_ns, code = engine_of(options.read)
    else:
        engine, now_ns, code = _live(options, dumps)
        if not engine.flows.dumped_ns and not code:
            print("nettop: the table changed too much for a complete dump: what was read follows", file=sys.stderr)
            code = EXIT_FAILED
    rows = engine.flows.rows(wanted, sort, options.number or None, now_ns)
    lines = engine.flows.json_lines(rows) if options.json else text_lines(engine.flows, engine.strings, rows)
    out = Lines()
    for line in lines:
        out.add((line,))
    out.flush()
    return code


def sort_keys(text: str) -> tuple[SortKey, ...]:
    """`bytes` or `bytes,+age`: column keys, largest first, with a + smallest first. UsageError for an unknown one."""
    keys = []
    for word in filter(None, text.split(",")):
        key = word.lstrip("+-")
        if key not in FlowTable.sortable:
            raise UsageError(f"no sort key {key!r}", f"one of {' '.join(sorted(FlowTable.sortable))}")
        keys.append(SortKey(key, descending=not word.startswith("+")))
    return tuple(keys)


def text_lines(flows: FlowTable, strings: Strings, rows: Rows) -> list[str]:
    """One plain line a flow."""
    formatted = FlowLines(strings, flows.netns_label, text_template)
    return [line for chunk in formatted.chunks(flows.window(), rows) for line in chunk]


def _live(options: argparse.Namespace, dumps: int) -> tuple[Engine, int, int]:
    enough = Enough(dumps)
    interval = None if dumps == 1 else _RATE_EVERY_S
    return live_engine(options, lambda live: live.table(interval, share=None), enough)


class Enough:
    """Whether as many complete dumps as are wanted have come, or the table has changed under too many."""

    def __init__(self, complete: int) -> None:
        self._complete, self._incomplete = complete, _TRIES

    def __call__(self, item: Item) -> bool:
        if isinstance(item, DumpMark) and not item.begin:
            self._complete -= item.complete
            self._incomplete -= not item.complete
        return not (self._complete and self._incomplete)
