"""`nettop rules`: chains and rules of one namespace as JSON Lines or as a tree grouped by hook."""

from __future__ import annotations

import argparse
import json as json_format
from collections.abc import Iterator
from typing import Any

from nettop import arguments
from nettop.console import say
from nettop.decode.nftables.listing import with_counters
from nettop.errors import EXIT_FAILED, EXIT_OK
from nettop.headless.load import engine_of, final_code, live_engine
from nettop.headless.rule_reading import RULE_FEEDS, Settled
from nettop.headless.streaming import LineOutput
from nettop.model.ruleset.counters import Counts
from nettop.model.ruleset.merge import NFT, ChainView, Picture, RuleView
from nettop.model.ruleset.order import IP, is_dormant, path_of, ties, traversal
from nettop.model.ruleset.rule_tree import reached, rows_of
from nettop.model.ruleset.ruleset import Ruleset
from nettop.model.ruleset.words import FIRST_PACKET, NO_RULES, chain_path, priority_text, rule_text, table_path
from nettop.text.sanitize import clean
from nettop.text.units import plural, scaled

_CHAINS_NAMED = 3
Numbers = tuple[int | None, int | None]


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `nettop rules`."""
    arguments.add(parser, "--json", *arguments.LIVE, "-r --read")


def run(options: argparse.Namespace) -> int:
    """Print the ruleset of --netns or of a recording. Return the exit code of the contract."""
    if options.read:
        engine, _, code = engine_of(options.read)
        if not engine.ruleset.is_known:
            if not code:  # else its damage was reported
                others = "plain captures and copies by other tools do not"
                say(f"{options.read!r} holds no rules: recordings of `nettop record` do, {others}")
            return final_code(engine.ledger, code)
    else:
        settled = Settled()
        engine, _, code = live_engine(options, lambda live: live.watch(*RULE_FEEDS), lambda engine, _: settled(engine))
    out = LineOutput()
    out.add(list(lines(engine.ruleset, engine.netns, options.json)))
    out.flush()
    return final_code(engine.ledger, code or report(engine.ruleset))


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


def lines(ruleset: Ruleset, netns_label: str, json: bool) -> Iterator[str]:
    """Yield a line for each chain and rule, without line ends: JSON objects, or text that is safe for a terminal."""
    if json:
        for row in objects(ruleset, netns_label):
            yield json_format.dumps(row)
    else:
        yield from map(clean, _tree(ruleset))


def objects(ruleset: Ruleset, netns_label: str) -> Iterator[dict[str, Any]]:
    """Tables without chains; every chain, in traversal order, followed by its own rules and its policy."""
    picture, counts = ruleset.picture, ruleset.counts
    for table in ruleset.tables_without_chains():
        named = {"family": table.family, "table": table.name, "handle": table.handle, "flags": list(table.flags)}
        yield {"kind": "table", "netns": netns_label, **named, "comment": table.comment}
    for index in traversal(picture):
        chain = picture.chains[index]
        where = _where(chain, netns_label)
        policy = _numbers(counts, picture.policy_cell(index))
        yield {"kind": "chain", **where, **_chain(chain, policy)}
        for at, rule in enumerate(picture.rules_of(chain), chain.first):
            stale = ruleset.is_stale(rule)
            yield {"kind": "rule", **where, **_rule(chain, rule, _numbers(counts, at)), "stale": stale}
        if chain.policy is not None:
            yield {"kind": "rule", **where, **_rule(chain, None, policy), "stale": False}


def _numbers(counts: Counts, cell: int) -> Numbers:
    if not counts.have[cell]:
        return None, None
    return int(counts.packets[cell]), int(counts.bytes[cell])


def _where(chain: ChainView, netns_label: str) -> dict[str, Any]:
    return {
        "netns": netns_label,
        "family": chain.family,
        "table": chain.table,
        "chain": chain.name,
        "hook": chain.hook,
        "priority": chain.priority,
        "priority_name": chain.priority_name,
        "device": ",".join(chain.devices) or None,
        "policy": chain.policy,
    }


def _chain(chain: ChainView, policy: Numbers) -> dict[str, Any]:
    return {
        "type": chain.type,
        "handle": chain.handle,
        "rules": chain.count,
        "flags": list(chain.flags),
        "comment": chain.comment,
        "packets": policy[0],
        "bytes": policy[1],
        "backend": chain.backend,
    }


def _rule(chain: ChainView, rule: RuleView | None, numbers: Numbers) -> dict[str, Any]:
    """Return the keys of a rule, or of the chain's policy if it is None."""
    text = f"policy {chain.policy}" if rule is None else rule.text
    if rule is not None and text is not None and rule.backend == NFT and numbers[0] is not None:
        text = with_counters(text, numbers[0], numbers[1] or 0)
    return {
        "number": rule and rule.number,
        "handle": rule and rule.handle,
        "text": text,
        "comment": rule and rule.comment,
        "packets": numbers[0],
        "bytes": numbers[1],
        "backend": chain.backend if rule is None else rule.backend,
    }


def _tree(ruleset: Ruleset) -> Iterator[str]:
    picture = ruleset.picture
    jumped, tied, place = reached(picture), ties(picture), ""
    if not picture.chains and not ruleset.texts.legacy_errors():
        yield f"no chains: {NO_RULES}"
    for index in traversal(picture):
        chain = picture.chains[index]
        if chain.hook is None and index in jumped:
            continue
        title = _place(chain)
        if title != place:
            yield title
            place = title
        yield from _chain_tree(picture, ruleset.counts, index, index in tied)
    if bare := ruleset.tables_without_chains():
        yield "tables without chains"
        yield from (f"  {table_path(table)}" for table in bare)
    if tied:
        yield "?  another chain runs at the same place: which one is first is not known"


def _place(chain: ChainView) -> str:
    """Return the hook, after its path if that is not ip's; for a chain that no packet reaches by a hook, the reason."""
    if chain.hook is None:
        return "reached by a named map" if chain.references else "not reached by any hook"
    if is_dormant(chain):
        return "dormant tables: these chains do not run"
    path = path_of(chain)
    return chain.hook if path == IP else f"{path} {chain.hook}"


def _chain_tree(picture: Picture, counts: Counts, index: int, tied: bool) -> Iterator[str]:
    chain = picture.chains[index]
    title = [f"  {chain_path(chain)}", chain.backend]
    if chain.hook is not None:
        title += [chain.hook] if is_dormant(chain) else []
        title += [f"priority {priority_text(chain, tied)}", f"policy {chain.policy}"]
    if chain.devices:
        title.append(f"device {', '.join(chain.devices)}")
    if chain.type == "nat":
        title.append(FIRST_PACKET)
    yield "   ".join(title)
    for row in rows_of(picture, index):
        packets, octets = _numbers(counts, row.cell)
        number = "policy" if row.rule is None else str(picture.rules[row.rule].number)
        text = chain.policy or "" if row.rule is None else rule_text(picture.rules[row.rule])
        handle = None if row.rule is None else picture.rules[row.rule].handle
        tail = "" if handle is None else f"  # handle {handle}"
        indent = "  " * row.depth
        name = picture.chains[row.chain].name if row.depth else ""
        lead = f"{indent}{name} {number}" if name else number
        yield f"    {lead:>10}  {scaled(packets):>6} {scaled(octets):>6}  {indent}{row.jump}{text}{tail}"
