"""Engines filled from a recording or a live namespace, for the commands that print their models once."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from nettop.batch import Batch, End, Item, PacketMeta, item_time
from nettop.console import say
from nettop.errors import EXIT_DAMAGED, EXIT_FAILED, EXIT_LOSS, EXIT_OK
from nettop.headless.damage import damage
from nettop.headless.streaming import WAIT_S, sources
from nettop.headless.unprivileged import drop
from nettop.model.ledger import Ledger
from nettop.pipeline.ingest import Plumbing
from nettop.pipeline.intake import Intake
from nettop.pipeline.live_sources import LiveSources
from nettop.text.units import grouped

if TYPE_CHECKING:
    from nettop.pipeline.engine import Engine
    from nettop.recording.reader import CaptureReader

Items = Iterator[Item]
AnyIntake = TypeVar("AnyIntake", bound=Intake)


def recorded(path: str) -> Items:
    """Drop privileges and yield the items of a file ("-": stdin) to its End. InputError if it is no capture."""
    items = open_items(path)
    drop()
    return items


def open_items(path: str) -> Items:
    """Open a file ("-": stdin) and return its items, which are read without privileges. InputError: see recorded."""
    from nettop.recording.chunks import open_input
    from nettop.recording.reader import open_reader

    return _items(partial(open_reader, path, fd=open_input(path)))


def _items(opened: Callable[[], CaptureReader]) -> Items:
    reader = opened()
    try:
        yield from reader
    finally:
        reader.close()


def engine_of(path: str) -> tuple[Engine, int, int]:
    """Return the models at the end of a recording but for its packets, its last time in ns, and the exit code."""
    return engine_from(path, recorded(path))


def engine_from(
    path: str, items: Items, ended: Callable[[Engine, Item], bool] = lambda engine, item: False
) -> tuple[Engine, int, int]:
    """Return the same of items, up to the first one before which `ended` returns True."""
    engine, code, now_ns = _new_engine(), EXIT_OK, 0
    engine.ruleset.raw.sets.keeps_elements = True
    for item in items:
        if ended(engine, item):
            break
        code = code or damage(path, item)
        now_ns = max(now_ns, item_time(item) or 0)
        if isinstance(item, Batch) and isinstance(item.meta, PacketMeta):
            engine.ledger.add(item)
        else:
            engine.apply(item, now_ns)
    return engine, now_ns, code


def live_engine(
    options: argparse.Namespace,
    begin: Callable[[LiveSources], None],
    enough: Callable[[Engine, Item | None], bool] = lambda engine, item: False,
    finish: Callable[[LiveSources, Engine], None] = lambda live, engine: None,
) -> tuple[Engine, int, int]:
    """Return the models of --netns, the time in ns since the epoch, and the exit code.

    Reads until `enough` returns True after an item (None: after those that have come), or every source that `begin`
    started has ended. `finish` is called then, while the broker still runs.
    """
    plumbing = Plumbing()
    with sources(options, plumbing) as live:
        engine = _new_engine(live.netns.label)
        begin(live)
        fill(engine, plumbing, enough)
        finish(live, engine)
    return engine, time.time_ns(), report_errors(engine.failures)


def fill(engine: AnyIntake, plumbing: Plumbing, enough: Callable[[AnyIntake, Item | None], bool]) -> None:
    """Apply what the sources read until it is enough, or all of them have ended."""
    while plumbing.alive():
        if _apply(engine, plumbing.handoff.get(WAIT_S)[1], enough):
            return
    while items := plumbing.handoff.get(0)[1]:
        _apply(engine, items, enough)


def _new_engine(netns: str | None = None) -> Engine:
    from nettop.pipeline.engine import Engine  # all models: `nettop rules` needs few of them, and fast

    return Engine(netns)


def _apply(engine: AnyIntake, items: Iterable[Item], enough: Callable[[AnyIntake, Item | None], bool]) -> bool:
    """Apply the items up to one that is enough. Return whether there was one, or all are enough."""
    for item in items:
        engine.apply(item, item_time(item) or time.time_ns())
        if enough(engine, item):
            return True
    return enough(engine, None)


def report_errors(items: Iterable[Item]) -> int:
    """Report each stream that ended with an error on stderr. Return the exit code."""
    code = EXIT_OK
    for item in items:
        if isinstance(item, End) and item.error:
            say(item.error)
            code = EXIT_FAILED
    return code


def final_code(ledger: Ledger, code: int, fail_on_loss: bool = False) -> int:
    """Return the final exit code. Report losses on stderr if they make the command fail, else damaged messages."""
    if fail_on_loss and ledger.any_loss():
        say(ledger.line())
        return code or EXIT_LOSS
    if bad := ledger.unreadable():
        say(f"{grouped(bad)} damaged {'message is' if bad == 1 else 'messages are'} left out")
        return code or EXIT_DAMAGED
    return code
