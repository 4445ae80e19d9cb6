"""Questions about the map: the device of a row of another view, and the route of a packet, asked of the kernel."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

from nettop.broker.client import Broker
from nettop.errors import UsageError
from nettop.model.map.route_path import RouteDetail, route_path
from nettop.model.map_findings.hook_rules import hook_rules
from nettop.model.packets.blocks import PacketBlock
from nettop.model.ruleset.rule_tree import chain_of_ident
from nettop.model.table import Detail, Line
from nettop.model.topology.device_words import label_text
from nettop.model.topology.host_map import NamespaceMap
from nettop.model.topology.route_case import HookRules, RouteStep
from nettop.model.topology.route_query import RouteQuery, parse
from nettop.model.topology.route_steps import explain
from nettop.pipeline.engine import Engine
from nettop.pipeline.route_question import ask_route
from nettop.session.flow_actions import flow_of
from nettop.session.run import Run

# Words of nft and iptables before the name of a device.
_DEVICE = re.compile(r"(?:-i|-o|iifname|oifname|iif|oif|--physdev-in|--physdev-out)\s+\"?([^\s\"{}]+)")
_ROLES = {"passes": "good", "drops": "bad", "kernel": "number", "inferred": "warn", "not evaluated": "dim"}


def device_of(engine: Engine, view: str, ident: int) -> tuple[int | None, str]:
    """Return the ident in the map of the device of a row (None: it is not known), and the device's name."""
    for netns, name in _devices_of(engine, view, ident):
        label = engine.host_map.listed(netns)
        space, links = engine.host_map.of(label), engine.routing.links(engine.code(netns))
        known = [(link.ifindex, link.name) for link in links.values()]
        known += [(index, device.link.name) for index, device in (space.devices.items() if space else ())]
        for ifindex, other in known:
            if other == name:
                return engine.map.idents.of(label, ifindex), name
    return None, ""


def _devices_of(engine: Engine, view: str, ident: int) -> Iterator[tuple[str, str]]:
    """Yield the namespaces and names of the devices that a row may mean, the first one first."""
    if view == "packets":
        segment, row = engine.packets.store.find(ident) or (None, 0)
        if isinstance(segment, PacketBlock):
            words = [segment.fields().words(name) for name in ("netns", "device")]
            netns, device = (found[1][int(found[0][row])] if found else "" for found in words)
            yield netns, device
    elif view == "traces":
        journey = engine.traces.kept.get(ident)
        yield from ((engine.netns, name) for name in (journey and journey.iif, journey and journey.oif) if name)
    elif view in ("flows", "events"):
        found = flow_of(engine, view, ident)
        names = None if found is None else engine.devices.devices(found)
        yield from ((engine.labels[found.value("netns")], name) for name in names or () if found is not None)
    else:
        yield from ((engine.netns, name) for name in _of_rules(engine, view, ident))


def _of_rules(engine: Engine, view: str, ident: int) -> Iterable[str]:
    """Return the devices that a rule tests, or those of a chain."""
    picture = engine.ruleset.picture
    number = ident if ident > 0 else chain_of_ident(ident)
    if view == "rules" and ident > 0:
        ident = engine.ruleset.opened.rule_of(ident)
        texts = (rule.text or "" for rule in picture.rules if rule.ident == ident)
        return [name.rstrip("+") for text in texts for name in _DEVICE.findall(text)]
    return [name for chain in picture.chains if chain.ident == number for name in chain.devices]


def route(broker: Broker, run: Run, label: str, text: str) -> Detail:
    """Return the way of a packet through a namespace, step by step. NettopError: it is no question, or not answered."""
    query = parse(text)
    here, hooks = run.waited(lambda engine, now_ns: _known(engine, label, query))
    if here is None:
        raise UsageError(f"route: nothing is known of {label_text(label)}", "it may be gone")
    report = explain(query, here, partial(ask_route, broker, broker.netns(label)), hooks)
    asked = " ".join(text.split()).removeprefix("to ")
    title: Line = ((f"route to {asked}", "heading"), (f"   in {label_text(label)}", "dim"))
    lines = tuple(map(_step_line, report.steps))
    path = run.waited(lambda engine, now_ns: route_path(engine.host_map, engine.map.idents, label, report))
    return RouteDetail(-1, title, lines, path, sentences=len(lines))


def _step_line(step: RouteStep) -> Line:
    return ((f"  {step.topic:<9} {step.status:<14} ", _ROLES[step.status]), (step.text, ""))


def _known(engine: Engine, label: str, query: RouteQuery) -> tuple[NamespaceMap | None, dict[str, HookRules] | None]:
    """Return a copy of what is known of a namespace, and its rules by hook (None: they were not read)."""
    space, rules = engine.host_map.of(label), engine.rulesets.of(label)
    copy = None if space is None else replace(space, devices=dict(space.devices))
    return copy, None if rules is None else hook_rules(rules.picture, query.family)
