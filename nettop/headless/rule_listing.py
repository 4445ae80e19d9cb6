"""The lines of `nettop rules`, from the models of a recording or of a live namespace."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from nettop import arguments
from nettop.batch import End, Item
from nettop.broker.options import for_app
from nettop.broker.start import start
from nettop.console import say
from nettop.decode.nftables.members import rows_of
from nettop.errors import EXIT_FAILED, EXIT_OK, BrokerError, FilterError, UsageError
from nettop.headless.load import engine_of, fill, final_code, report_errors
from nettop.headless.rule_reading import LISTING, SETS, Settled, watched
from nettop.headless.streaming import LineOutput
from nettop.kinds import TRACE_PREFIX, TextKind
from nettop.model.ruleset.lines import json_lines
from nettop.model.ruleset.picture import LEGACY
from nettop.model.ruleset.ruleset import Ruleset
from nettop.model.ruleset.selection import RuleQuery, select
from nettop.model.ruleset.sets.contents import SetContents, ipsets_of
from nettop.model.ruleset.sets.membership import holding, ipset_holds, question
from nettop.model.ruleset.words import chain_path
from nettop.pipeline.ingest import Plumbing
from nettop.pipeline.intake import Intake
from nettop.pipeline.live_sources import LiveSources
from nettop.pipeline.set_pages import ipset_elements, ipsets, set_elements
from nettop.text.sanitize import clean
from nettop.text.units import listed, plural

if TYPE_CHECKING:
    from nettop.model.filter.expression import Filter

_CHAINS_NAMED = 3
T = TypeVar("T")
_EVERYTHING, _NO_CONTENTS = RuleQuery(), SetContents()


def run(options: argparse.Namespace) -> int:
    """Print the ruleset of --netns or of a recording. Return the exit code of the contract."""
    query = query_of(options)
    reading = SetReading(options, query)
    if options.diff:
        return _compare(options, query, reading)
    engine: Intake
    if options.read:
        engine, _, code = engine_of(options.read)
        if not engine.ruleset.is_known:
            if not code:  # else its damage was reported
                others = "plain captures and copies by other tools do not"
                say(f"{options.read!r} holds no rules: recordings of `nettop record` do, {others}")
            return final_code(engine.ledger, code)
    else:
        engine, code = _live(options, reading)
    contents = recorded(engine.ruleset, options) if options.read else reading.contents
    return _print(options, query, contents, engine, code)


def print_live(options: argparse.Namespace, live: LiveSources, plumbing: Plumbing) -> int:
    """Print what the sources read, once it is enough. Return the exit code of the contract."""
    query = query_of(options)
    reading = SetReading(options, query)
    engine, code = _read(live, plumbing, reading)
    live.broker.end()
    return _print(options, query, reading.contents, engine, code)


def _print(options: argparse.Namespace, query: RuleQuery, contents: SetContents, engine: Intake, code: int) -> int:
    out = LineOutput()
    printer = finding_lines if options.findings else lines
    out.add(list(printer(engine.ruleset, engine.netns, options.json, query, contents)))
    out.flush()
    return final_code(engine.ledger, code or report(engine.ruleset))


def _live(options: argparse.Namespace, reading: SetReading) -> tuple[Intake, int]:
    with start(allowed=for_app(read_only=True)) as broker, watched(broker, options.netns) as (live, plumbing):
        return _read(live, plumbing, reading)


def _read(live: LiveSources, plumbing: Plumbing, reading: SetReading) -> tuple[Intake, int]:
    engine = Intake(live.netns.label)
    fill(engine, plumbing, Enough(live))
    reading(live, engine)
    return engine, report_errors(engine.failures)


def _compare(options: argparse.Namespace, query: RuleQuery, reading: SetReading) -> int:
    """Print the differences. EXIT_OK with or without any: 1 is a failure, as everywhere."""
    from nettop.headless.rule_diff import compared

    def read_live() -> tuple[Intake, SetContents, int]:
        engine, code = _live(options, reading)
        return engine, reading.contents, code

    found, code = compared(options, query, read_live)
    out = LineOutput()
    out.add(found)
    out.flush()
    return code


def query_of(options: argparse.Namespace) -> RuleQuery:
    """Return the query of the options. FilterError for a filter that does not parse or needs two readings."""
    display_filter = _display_filter(options.filter)
    if display_filter is not None and "rate" in display_filter.columns and not options.read:
        reason = "rates need two readings, this is one: bytes and packets are known"
        raise FilterError(reason, options.filter, options.filter.find("rate"))
    sets = tuple(name for name in options.elements if name != arguments.EVERY)
    if options.holds and options.read:
        raise UsageError("--holds asks the kernel", "a recording does not have all elements of sets")
    holds = question(options.holds) if options.holds else None
    return RuleQuery(tuple(options.table), tuple(options.chain), tuple(options.hook), sets, display_filter, holds)


def _display_filter(expression: str) -> Filter | None:
    if not expression:
        return None
    from nettop.model.filter.expression import parse

    return parse(expression, "rule")


class Enough:
    """A predicate of the models and items, true once the ruleset is known and its sets are read.

    Rules in the tables of iptables that it cannot print have their words from nft's listing of all, read only then.
    """

    def __init__(self, live: LiveSources) -> None:
        self._settled, self._has_sets = Settled(), False
        self._live: LiveSources | None = live  # None: all is listed
        self._listed_ns = 0  # the time from which on a listing is one of all

    def __call__(self, engine: Intake, item: Item | None) -> bool:
        """Return whether what is known is enough."""
        stream = engine.streams.get(item.stream) if isinstance(item, End) and item.stream is not None else None
        self._has_sets = self._has_sets or (stream is not None and stream.name == SETS.stream)
        ruleset = engine.ruleset
        if self._live is not None and ruleset.is_read and ruleset.picture.missing_texts:
            self._live.stop(LISTING)
            self._listed_ns = time.time_ns()
            self._live.watch(LISTING)
            self._live = None
        has_listing = ruleset.texts.requested_ns.get(TextKind.NFT_RULESET, -1) >= self._listed_ns
        return self._settled(engine) and self._has_sets and has_listing


class SetReading:
    """Reads the IP sets, and the elements of the sets that are printed, while the broker runs."""

    def __init__(self, options: argparse.Namespace, query: RuleQuery) -> None:
        self.contents = SetContents()
        self._elements, self._number, self._query = (
            bool(options.elements or options.diff or query.holds),
            options.number,
            query,
        )

    def __call__(self, live: LiveSources, engine: Intake) -> None:
        """Read them all. A set that was deleted meanwhile is reported on stderr."""
        broker, netns, contents = live.broker, live.netns, self.contents
        if any(ipsets_of(rule.text) for rule in engine.ruleset.picture.rules):  # else the request may load a module
            contents.ipsets = _reported(partial(ipsets, broker, netns)) or []
        if not self._elements:
            return
        asked = self._query.holds
        shown = select(engine.ruleset, replace(self._query, holds=None), contents)
        for one in shown.sets:
            found = _reported(partial(set_elements, broker, netns, one, self._limit))
            if found is None:
                continue
            elements, interrupted = found
            if elements is not None and asked is not None:
                elements = elements.rows(np.flatnonzero(holding(asked, one, elements))[: self._number])
            if elements is not None and len(elements):
                contents.elements[one.id] = elements
            if interrupted:
                say(f"set {' '.join(one.id)} changed while it was read: some elements may be missing or there twice")
        for ipset in shown.ipsets:
            of = _reported(partial(ipset_elements, broker, netns, ipset.name, self._limit)) or []
            of = of if asked is None else ipset_holds(asked, of)[: self._number]
            if of:
                contents.of_ipsets[ipset.name] = of

    @property
    def _limit(self) -> int:
        return sys.maxsize if self._query.holds else self._number


def recorded(ruleset: Ruleset, options: argparse.Namespace) -> SetContents:
    """Return the IP sets of a recording, and if they are asked for the elements of all sets, as far as it has them."""
    found, number = ruleset.raw.sets.contents, options.number if options.elements else 0
    elements = {one: of.rows(np.array(rows_of(of)[:number], np.int64)) for one, of in found.elements.items()}
    return SetContents(found.ipsets, elements, {name: of[:number] for name, of in found.of_ipsets.items()})


def _reported(read: Callable[[], T]) -> T | None:
    """Return what is read; None if that fails, which is reported on stderr."""
    try:
        return read()
    except BrokerError as error:
        say(str(error))
        return None


def report(ruleset: Ruleset) -> int:
    """Report on stderr what of the ruleset is not known. Return the exit code."""
    missing = [
        *(f"rules of {what}: {error}" for what, error in ruleset.texts.legacy_errors()),
        *_missing_words(ruleset),
    ]
    if not ruleset.is_dumped:
        missing.append("the kernel's rules could not be read")
    elif ruleset.raw.interrupted:
        missing.append("the ruleset kept changing while it was read: some rules may be missing or old; try again later")
    for line in missing:
        say(line)
    return EXIT_FAILED if missing else EXIT_OK


def _missing_words(ruleset: Ruleset) -> Iterator[str]:
    """Yield one line on the rules without words: how many, in which chains, and why."""
    picture = ruleset.picture
    own = [chain.table.startswith(TRACE_PREFIX) for chain in picture.chains]  # tables of a trace: no tool is asked
    without = [rule for rule in picture.rules if rule.text is None and not own[rule.chain]]
    if without:
        chains = list(dict.fromkeys(chain_path(picture.chains[rule.chain]) for rule in without))
        where = listed(chains, _CHAINS_NAMED)
        why = "; ".join(dict.fromkeys(ruleset.texts.failures())) or _reason(ruleset)
        yield f"{plural(len(without), 'rule')} without words, in {where}: {why}"


def _reason(ruleset: Ruleset) -> str:
    if ruleset.wants_text():
        return "they are newer than the last listing of their tool"
    return "their tool does not print them"


def lines(
    ruleset: Ruleset, netns_label: str, json: bool, query: RuleQuery = _EVERYTHING, contents: SetContents = _NO_CONTENTS
) -> Iterator[str]:
    """Yield the lines, without line ends: JSON objects, or text that is safe for a terminal. UsageError: see select."""
    shown = select(ruleset, query, contents)
    if json:
        yield from json_lines(ruleset, netns_label, shown, contents)
    else:
        from nettop.model.ruleset.tree_lines import tree

        yield from map(clean, tree(ruleset, query, shown, contents))


def finding_lines(
    ruleset: Ruleset, netns_label: str, json: bool, query: RuleQuery, contents: SetContents
) -> Iterator[str]:
    """Yield the findings of the chosen tables and chains as `lines` does the rules."""
    from nettop.headless.finding_lines import finding_lines as lines_of_findings
    from nettop.model.ruleset.findings import chain_key, findings

    shown = select(ruleset, query, contents)
    chains = (ruleset.picture.chains[index] for index in shown.chains)
    chosen: set[tuple[object, ...]] = {(*one.table_key[1:], one.name, one.backend == LEGACY) for one in chains}
    chosen |= {(*key[1:], None, False) for key in shown.tables}
    found = [one for one in findings(ruleset, contents) if chain_key(one) in chosen]
    yield from lines_of_findings(found, netns_label, json)
