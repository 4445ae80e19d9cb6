"""`nettop rules --diff`: two moments of a ruleset, each of a recording or of the live namespace."""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from nettop.batch import Item, item_time
from nettop.console import say
from nettop.errors import InputError, UsageError
from nettop.headless.load import Items, engine_from, open_items
from nettop.headless.unprivileged import drop
from nettop.kinds import TRACE_PREFIX
from nettop.model.ruleset.diff.chains import ChainKey, ChainState, chains_of, complete, differences, unified
from nettop.model.ruleset.diff.parts import Parts, part_differences, parts_of, unified_parts
from nettop.model.ruleset.ruleset import Ruleset
from nettop.model.ruleset.selection import RuleQuery, select
from nettop.model.ruleset.set_lines import IPSET
from nettop.model.ruleset.sets.contents import SetContents
from nettop.pipeline.intake import Intake
from nettop.text.sanitize import clean
from nettop.text.units import listed

_MOMENT = re.compile(r"(.+)@(start|\d{1,2}:\d{2}(?::\d{2})?)", re.DOTALL)
_DAY = 86_400
_SETS_NS = 3_000_000_000
LiveReader = Callable[[], tuple[Intake, SetContents, int]]


def compared(options: argparse.Namespace, query: RuleQuery, read_live: LiveReader) -> tuple[list[str], int]:
    """Return the lines of the comparison, and the exit code. InputError for a file without rules."""
    names = options.diff
    if len(names) > 2:
        raise UsageError("--diff compares two moments", "name one recording (against the live namespace) or two")
    opened = [open_items(_split(name)[0]) for name in names]  # before the privileges go
    code, engines, live_contents = 0, list[Intake](), SetContents()
    if len(names) == 1:
        live, live_contents, code = read_live()
    else:
        drop()
    for name, items in zip(names, opened, strict=True):
        engine, error = _recorded(name, items)
        engines.append(engine)
        code = code or error
    if len(names) == 1:
        engines.append(live)
        names = [names[0], f"live {options.netns}".strip()]
    contents = [engine.ruleset.raw.sets.contents for engine in engines]
    if len(opened) == 1:
        contents[1] = live_contents
    sides = _chosen([engine.ruleset for engine in engines], query, contents)
    complete(sides[0].chains, sides[1].chains)
    _leave_out_unknown(sides)
    return list(_lines(sides, (names[0], names[1]), engines[1].netns, options.json)), code


@dataclass(slots=True)
class _Side:
    """The part of a state that is compared."""

    chains: dict[ChainKey, ChainState] = field(default_factory=dict)
    parts: Parts = field(default_factory=Parts)
    has_sets: bool = False  # they are listed


def _leave_out_unknown(sides: list[_Side]) -> None:
    """Compare only sets and elements that are known on both sides. The sets left out are reported on stderr."""
    left_out = set[str]()
    for side, other in (sides, sides[::-1]):
        for part in [part for part in side.parts.words if not other.parts.knows(part, other.has_sets)]:
            del side.parts.words[part]
            left_out |= {part.name} - {""} if part.backend != IPSET else set()
    if left_out:
        say(f"not compared, since one side does not have their elements: {listed(sorted(left_out), 3)}")


def _lines(sides: list[_Side], names: tuple[str, str], netns: str, as_json: bool) -> Iterator[str]:
    before, after = sides
    if as_json:
        rows = (
            *part_differences(before.parts.words, after.parts.words, netns),
            *differences(before.chains, after.chains, netns),
        )
        yield from map(json.dumps, rows)
    else:
        yield from map(clean, unified_parts(before.parts.words, after.parts.words, names))
        yield from map(clean, unified(before.chains, after.chains, names))


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
        return _started()
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


def _started() -> Callable[[Intake, Item], bool]:
    """Return the predicate that ends the reading once the ruleset is known; its sets are recorded after it."""
    since = 0

    def ended(engine: Intake, item: Item) -> bool:
        nonlocal since
        if engine.ruleset.is_read:
            since = since or item_time(item) or 0
        at = item_time(item) or since
        return engine.ruleset.is_read and (engine.ruleset.raw.sets.is_read or at - since > _SETS_NS)

    return ended


def _next(since: int, second: int) -> int:
    """Return the first time at or after `since` (s) at which the local clock shows this second of the day."""
    local = time.localtime(since)
    now = local.tm_hour * 3600 + local.tm_min * 60 + local.tm_sec
    return since + (second - now) % _DAY


def _chosen(rulesets: list[Ruleset], query: RuleQuery, contents: list[SetContents]) -> list[_Side]:
    """Return what is chosen of each side, without the tables of traces. UsageError for a name that neither has."""
    found = [_Side(), _Side()]
    for side, ruleset, of in zip(found, rulesets, contents, strict=True):
        with suppress(UsageError):
            chosen, chains = select(ruleset, query, of), ruleset.picture.chains
            indices = {at for at in chosen.chains if not chains[at].table.startswith(TRACE_PREFIX)}
            side.chains, side.has_sets = chains_of(ruleset.picture, indices), ruleset.raw.sets.is_listed
            side.parts = parts_of(ruleset, chosen, of)
    if not any(side.chains or side.parts.words for side in found):
        for ruleset, of in zip(rulesets[::-1], contents[::-1], strict=True):
            select(ruleset, query, of)
    return found
