"""`nettop rules --diff`: two moments of a ruleset, each of a recording or of the live namespace."""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from nettop.batch import Item, item_time
from nettop.errors import InputError, UsageError
from nettop.headless.load import Items, engine_from, open_items
from nettop.headless.unprivileged import drop
from nettop.kinds import TRACE_PREFIX
from nettop.model.ruleset.diff import ChainKey, ChainState, chains_of, complete, differences, unified
from nettop.model.ruleset.ruleset import Ruleset
from nettop.model.ruleset.selection import RuleQuery, select
from nettop.model.ruleset.sets.contents import SetContents
from nettop.pipeline.intake import Intake
from nettop.text.sanitize import clean

_MOMENT = re.compile(r"(.+)@(start|\d{1,2}:\d{2}(?::\d{2})?)", re.DOTALL)
_DAY = 86_400
LiveReader = Callable[[], tuple[Intake, int]]


def compared(options: argparse.Namespace, query: RuleQuery, read_live: LiveReader) -> tuple[list[str], int]:
    """Return the lines of the comparison, and the exit code. InputError for a file without rules."""
    names = options.diff
    if len(names) > 2:
        raise UsageError("--diff compares two moments", "name one recording (against the live namespace) or two")
    opened = [open_items(_split(name)[0]) for name in names]  # before the privileges go
    code, engines = 0, list[Intake]()
    if len(names) == 1:
        live, code = read_live()
    else:
        drop()
    for name, items in zip(names, opened, strict=True):
        engine, error = _recorded(name, items)
        engines.append(engine)
        code = code or error
    if len(names) == 1:
        engines.append(live)
        names = [names[0], f"live {options.netns}".strip()]
    sides = _chosen([engine.ruleset for engine in engines], query)
    complete(sides[0], sides[1])
    return list(_lines(sides, (names[0], names[1]), engines[1].netns, options.json)), code


def _lines(sides: list[dict[ChainKey, ChainState]], names: tuple[str, str], netns: str, as_json: bool) -> Iterator[str]:
    if as_json:
        yield from map(json.dumps, differences(sides[0], sides[1], netns))
    else:
        yield from map(clean, unified(sides[0], sides[1], names))


def _split(name: str) -> tuple[str, str]:
    """Return the file and the moment ("": its end) of `FILE@12:03`, unless a file has the whole name."""
    found = None if os.path.exists(name) else _MOMENT.fullmatch(name)
    return (name, "") if found is None else (found[1], found[2])


def _recorded(name: str, items: Items) -> tuple[Intake, int]:
    """Return the models of a recording at its moment, and the exit code of its damage."""
    path, moment = _split(name)
    engine, _, code = engine_from(path, items, _until(moment))
    if not engine.ruleset.is_known:
        raise InputError(
            f"{path!r} holds no rules", "recordings of `nettop record` do" if not moment else f"at {moment}"
        )
    return engine, code


def _until(moment: str) -> Callable[[Intake, Item], bool]:
    """Return the predicate of the models and the next item that ends the reading."""
    if moment == "start":
        return lambda engine, item: engine.ruleset.is_read
    if not moment:
        return lambda engine, item: False
    numbers = [int(part) for part in moment.split(":")]
    second = sum(number * unit for number, unit in zip(numbers, (3600, 60, 1), strict=False))
    end = 0

    def ended(engine: Intake, item: Item) -> bool:
        nonlocal end
        seconds = (item_time(item) or 0) // 1_000_000_000
        if seconds and not end:
            end = _next(seconds, second)
        return bool(seconds) and seconds >= end

    return ended


def _next(since: int, second: int) -> int:
    """Return the first time at or after `since` (s) at which the local clock shows this second of the day."""
    local = time.localtime(since)
    now = local.tm_hour * 3600 + local.tm_min * 60 + local.tm_sec
    return since + (second - now) % _DAY


def _chosen(rulesets: list[Ruleset], query: RuleQuery) -> list[dict[ChainKey, ChainState]]:
    """Return the chosen chains of each side, without the tables of traces. UsageError for a name that neither has."""
    found: list[dict[ChainKey, ChainState]] = []
    for ruleset in rulesets:
        chosen: list[int] = []
        with suppress(UsageError):
            chosen = select(ruleset, query, SetContents()).chains
        chains = ruleset.picture.chains
        found.append(chains_of(ruleset.picture, {at for at in chosen if not chains[at].table.startswith(TRACE_PREFIX)}))
    if not any(found):
        for ruleset in rulesets[::-1]:
            select(ruleset, query, SetContents())
    return found
