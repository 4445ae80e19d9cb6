"""`nettop counters`: conntrack's statistics and the table's use, once or again and again with rates."""

from __future__ import annotations

import argparse

from nettop.batch import DumpMark
from nettop.headless.feed import complain, engine_of, item_time, live_engine
from nettop.headless.live import Lines, Stop, sources, taken
from nettop.pipeline.engine import Engine
from nettop.pipeline.plumbing import Plumbing


def run(options: argparse.Namespace) -> int:
    """Print the counters; the exit code of the contract."""
    if options.interval and not options.read:
        return _repeat(options)
    if options.read:
        engine, _, code = engine_of(options.read)
    else:
        engine, _, code = live_engine(options, lambda live: live.statistics(None))
    _print(engine, options.json)
    return code


def _repeat(options: argparse.Namespace) -> int:
    plumbing = Plumbing()
    rounds = 0
    with sources(options, plumbing) as live:
        engine = Engine(live.netns.label)
        stop = Stop()
        live.statistics(options.interval)
        for items in taken(live, plumbing, stop):
            for item in items:
                engine.apply(item, item_time(item) or 0)
                if isinstance(item, DumpMark) and not item.begin and not stop.is_set():
                    _print(engine, options.json)
                    rounds += 1
                    if rounds == options.count:
                        stop.set()
    return complain(engine.ended)


def _print(engine: Engine, as_json: bool) -> None:
    out = Lines()
    out.add(list(engine.counters.json_lines() if as_json else engine.counters.text_lines()))
    if not as_json:
        out.add([""])
    out.flush()
