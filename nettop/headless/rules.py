"""`nettop rules`: tables, chains, rules, sets and objects of one namespace, as JSON Lines or as a tree of text."""

from __future__ import annotations

import argparse
import json as json_format
import sys
from collections.abc import Iterator, Mapping

from nettop import arguments
from nettop.batch import End, Item
from nettop.console import say
from nettop.decode.nftables.elements import Elements
from nettop.decode.nftables.sets import SetId
from nettop.errors import EXIT_FAILED, EXIT_OK, BrokerError, FilterError
from nettop.headless.load import engine_of, final_code, live_engine
from nettop.headless.rule_reading import RULE_FEEDS, SETS, Settled
from nettop.headless.streaming import LineOutput
from nettop.model.filter.expression import parse
from nettop.model.ruleset.hooks import HOOK_ORDER
from nettop.model.ruleset.lines import objects
from nettop.model.ruleset.ruleset import Ruleset
from nettop.model.ruleset.selection import RuleQuery, select
from nettop.model.ruleset.text import tree
from nettop.model.ruleset.words import chain_path
from nettop.pipeline.engine import Engine
from nettop.pipeline.live_sources import LiveSources
from nettop.pipeline.set_pages import SetPages
from nettop.text.sanitize import clean
from nettop.text.units import plural

_CHAINS_NAMED = 3
_EVERYTHING, _NO_ELEMENTS = RuleQuery(), dict[SetId, Elements]()
_ALL = "*"  # of --elements without a name


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `nettop rules`."""
    arguments.add(parser, "--json", "--filter")
    for name, what in (("table", "fw, or 'inet fw'"), ("chain", "forward, or 'inet fw forward'")):
        text = f"only this {name}: {what}; may be given several times"
        parser.add_argument(f"--{name}", action="append", default=[], metavar=name[0].upper(), help=text)
    text = f"only chains at this hook, and those that they jump to: {' '.join(HOOK_ORDER)}"
    parser.add_argument("--hook", action="append", default=[], metavar="H", help=text)
    text = "with the elements of all sets printed, or only this set with its elements"
    parser.add_argument("--elements", action="append", nargs="?", const=_ALL, default=[], metavar="SET", help=text)
    text = "at most N elements of each set (default: all)"
    parser.add_argument("-n", "--number", type=arguments.count, default=sys.maxsize, metavar="N", help=text)
    arguments.add(parser, *arguments.LIVE, "-r --read")


def run(options: argparse.Namespace) -> int:
    """Print the ruleset of --netns or of a recording. Return the exit code of the contract."""
    query = query_of(options)
    elements: dict[SetId, Elements] = {}
    if options.read:
        engine, _, code = engine_of(options.read)
        if not engine.ruleset.is_known:
            if not code:  # else its damage was reported
                others = "plain captures and copies by other tools do not"
                say(f"{options.read!r} holds no rules: recordings of `nettop record` do, {others}")
            return final_code(engine.ledger, code)
    else:
        finish = ElementReading(options, query, elements) if options.elements else _nothing
        engine, _, code = live_engine(options, lambda live: live.watch(*RULE_FEEDS, SETS), Enough(), finish)
    out = LineOutput()
    out.add(list(lines(engine.ruleset, engine.netns, options.json, query, elements)))
    out.flush()
    return final_code(engine.ledger, code or report(engine.ruleset))


def query_of(options: argparse.Namespace) -> RuleQuery:
    """Return the query of the options. FilterError for a filter that does not parse or needs two readings."""
    display_filter = parse(options.filter, "rule")
    if display_filter is not None and "rate" in display_filter.columns and not options.read:
        reason = "rates need two readings, this is one: bytes and packets are known"
        raise FilterError(reason, options.filter, options.filter.find("rate"))
    sets = tuple(name for name in options.elements if name != _ALL)
    return RuleQuery(tuple(options.table), tuple(options.chain), tuple(options.hook), sets, display_filter)


class Enough:
    """A predicate of the models and items, true once the ruleset is known and its sets are read."""

    def __init__(self) -> None:
        self._settled, self._has_sets = Settled(), False

    def __call__(self, engine: Engine, item: Item | None) -> bool:
        """Return whether what is known is enough."""
        stream = engine.streams.get(item.stream) if isinstance(item, End) and item.stream is not None else None
        self._has_sets = self._has_sets or (stream is not None and stream.name == SETS.stream)
        return self._settled(engine) and self._has_sets


class ElementReading:
    """Reads the elements of the sets that are printed, while the broker runs."""

    def __init__(self, options: argparse.Namespace, query: RuleQuery, found: dict[SetId, Elements]) -> None:
        self._number, self._query, self._found = options.number, query, found

    def __call__(self, live: LiveSources, engine: Engine) -> None:
        """Read them all. A set that was deleted meanwhile is reported on stderr."""
        for one in select(engine.ruleset, self._query).sets:
            try:
                with SetPages(live.broker, live.netns, one.id) as pages:
                    elements = pages.read(self._number)
            except BrokerError as error:
                say(str(error))
                continue
            if elements is not None:
                self._found[one.id] = elements
            if pages.interrupted:
                say(f"set {' '.join(one.id)} changed while it was read: some elements may be missing or there twice")


def _nothing(live: LiveSources, engine: Engine) -> None:
    pass


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
    without = [rule for rule in picture.rules if rule.text is None]
    if without:
        chains = list(dict.fromkeys(chain_path(picture.chains[rule.chain]) for rule in without))
        where = ", ".join(chains[:_CHAINS_NAMED]) + (", …" if len(chains) > _CHAINS_NAMED else "")
        why = "; ".join(dict.fromkeys(ruleset.texts.failures())) or "their tool does not print them"
        yield f"{plural(len(without), 'rule')} without words, in {where}: {why}"


def lines(
    ruleset: Ruleset,
    netns_label: str,
    json: bool,
    query: RuleQuery = _EVERYTHING,
    elements: Mapping[SetId, Elements] = _NO_ELEMENTS,
) -> Iterator[str]:
    """Yield the lines, without line ends: JSON objects, or text that is safe for a terminal. UsageError: see select."""
    shown = select(ruleset, query)
    if json:
        yield from map(json_format.dumps, objects(ruleset, netns_label, shown, elements))
    else:
        yield from map(clean, tree(ruleset, query, shown, elements))
