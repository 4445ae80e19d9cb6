"""Filters that find the packets of a row, and the rows that belong to a traced packet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nettop.errors import UsageError
from nettop.model.filter.expression import Filter, parse
from nettop.model.filter.vocabulary import proto_filter, way_filter, word_filter
from nettop.model.packets.blocks import PacketBlock
from nettop.model.ruleset.find import Hit
from nettop.model.ruleset.picture import LEGACY
from nettop.model.ruleset.rule_tree import chain_of_ident
from nettop.model.table import RulePlace
from nettop.model.traces.detail import place_of
from nettop.model.traces.ends import DIGITS, step_text
from nettop.model.traces.fields import rule_filter
from nettop.model.traces.journey import Journey
from nettop.model.traces.lines import lines, objects
from nettop.model.traces.selector import selector
from nettop.pipeline.engine import Engine
from nettop.text.address import address_text, with_port
from nettop.text.sanitize import clean
from nettop.text.times import TimeTexts


def packet_filter(engine: Engine, ident: int) -> str:
    """Return a filter for the packets like one of the list, in both directions; "" if it is gone or has no address."""
    segment, row = engine.packets.store.find(ident) or (None, 0)
    if not isinstance(segment, PacketBlock):
        return ""
    fields = segment.fields()
    family, proto = fields.number("family"), fields.number("proto")
    there = fields.present("proto")
    ends = [found for side in ("src", "dst") for found in fields.endpoints(side)]
    if family is None or proto is None or there is None or not there[row] or len(ends) != 2:
        return ""
    addresses = [address_text(int(family[row]), 0 if e.hi is None else int(e.hi[row]), int(e.lo[row])) for e in ends]
    ports = [int(e.port[row]) if e.port is not None and (e.has_port is None or e.has_port[row]) else None for e in ends]
    one, other = (a if port is None else with_port(a, port) for a, port in zip(addresses, ports, strict=True))
    return f"{proto_filter(int(proto[row]))} and ({way_filter(one, other)} or {way_filter(other, one)})"


def flow_of_journey(engine: Engine, number: int, now_ns: int) -> tuple[int | None, str]:
    """Return the identity of the flow of a traced packet (None: it has none now), and a filter that finds it."""
    journey = engine.traces.kept.get(number)
    if journey is None or journey.head.src is None or journey.head.proto is None:
        return None, ""
    ends = journey.head.source, journey.head.destination
    ways = f"{way_filter(*ends, ('osrc', 'odst'))} or {way_filter(*ends, ('rsrc', 'rdst'))}"
    text = f"{proto_filter(journey.head.proto)} and ({ways})"
    rows = engine.flows.matching(parse(text, "flow"), now_ns)
    known = rows[engine.flows.store.data["id"][rows] == (journey.ct_id or 0)]
    idents = engine.flows.store.idents(known if len(known) else rows)
    return (int(idents[0]) if len(idents) else None), text


_HOOKS = {"bridge": "bridge", "netdev": "ingress"}  # by family: the hooks that a trace must see, too


def filter_of_rule(engine: Engine, view: str, ident: int) -> tuple[str, str, str]:
    """Return a filter for the traced packets that met a rule, a policy, or for other rows the rules of a chain.

    And the hooks to trace for that (TraceRequest.also), and the packets (its expression; "": every packet).
    UsageError: no trace sees it. ("", "", ""): it is gone.
    """
    picture, ident = engine.ruleset.picture, engine.ruleset.opened.rule_of(ident)
    rule = next((rule for rule in picture.rules if rule.ident == ident), None) if view == "rules" else None
    number = ident if ident > 0 else chain_of_ident(ident)
    at = rule.chain if rule else next((i for i, chain in enumerate(picture.chains) if chain.ident == number), None)
    if at is None:
        return "", "", ""
    chain = picture.chains[at]
    if chain.family == "arp":
        raise UsageError("no trace sees chains of family arp")
    also = _HOOKS.get(chain.family, "")
    if rule is None and ident != -chain.ident:
        return f"{word_filter('table', chain.table)} and {word_filter('chain', chain.name)}", also, ""
    by_number = chain.backend == LEGACY
    name = "policy" if rule is None else f"rule {rule.number}" if by_number else f"handle {rule.handle}"
    packets = selector(picture, rule) if rule is not None and not also else ""
    return rule_filter(chain.family, chain.table, chain.name, name), also, packets


def answer_of_rule(engine: Engine, view: str, ident: int) -> tuple[str, str, str, str]:
    """Return the same with "" as the last value, or the reason why there is none."""
    try:
        return *filter_of_rule(engine, view, ident), ""
    except UsageError as error:
        return "", "", "", str(error)


@dataclass(frozen=True, slots=True)
class MetRule:
    """A rule or policy that traced packets met: its words (not safe for a terminal), and how many met it."""

    place: RulePlace
    text: str
    packets: int


def rules_met(engine: Engine, expression: str) -> list[MetRule]:
    """Return the rules that the traced packets that match met, each in its place among the steps of the first one."""
    found: dict[RulePlace, tuple[str, int]] = {}
    for journey in engine.traced.matching(parse(expression, "traced packet")):
        engine.traces.worded(journey)
        for place, step in {place_of(step): step for step in journey.steps}.items():
            if place is not None:
                text, packets = found.get(place, (step_text(step), 0))
                found[place] = text, packets + 1
    return [MetRule(place, *met) for place, met in found.items()]


def position_of(engine: Engine, place: RulePlace) -> Hit | None:
    """Return where the rule or policy of a step is shown; None if it is gone."""
    if place.rule is not None:
        return engine.finder.hit(place.rule)
    named = (place.family, place.table, place.chain)
    chains = (one for one in engine.ruleset.picture.chains if (one.family, one.table, one.name) == named)
    return next((Hit(one.ident, True, -one.ident, (), False) for one in chains if one.hook), None)


def trace_text(engine: Engine, display_filter: Filter | None, plain: bool) -> tuple[int, str]:
    """Return the number of traced packets that match, and their lines: as `nettop trace` prints them, or its JSON."""
    found = engine.traced.matching(display_filter)
    return len(found), _text(engine, found, plain)


def packet_text(engine: Engine, number: int, form: str) -> str:
    """Return a traced packet as text or JSON; "" if it is not kept any more."""
    journey = engine.traced.journey(number)
    return "" if journey is None else _text(engine, [journey], form == "text").rstrip("\n")


def _text(engine: Engine, found: Sequence[Journey], plain: bool) -> str:
    times = TimeTexts("auto")(np.array([journey.ts_ns for journey in found], np.int64), DIGITS)
    out: list[str] = []
    for journey, time in zip(found, times, strict=True):
        engine.traces.worded(journey)
        if plain:
            out += [*map(clean, lines(journey, time)), ""]
        else:
            out += map(json.dumps, objects(journey, engine.netns))
    return "\n".join((*out, "")) if out else ""
