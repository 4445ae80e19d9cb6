"""`nettop map --route`: the way of a packet through the routing of a namespace, step by step."""

from __future__ import annotations

import json as json_format
import os
from collections.abc import Iterator
from functools import partial
from typing import Any

from nettop.broker.client import Broker
from nettop.broker.requests import Netns
from nettop.errors import BrokerError
from nettop.headless.map_rules import ruleset_of
from nettop.model.map_findings.hook_rules import hook_rules
from nettop.model.topology.host_map import NamespaceMap
from nettop.model.topology.ip_words import destination_text, ip_text, table_text, type_text
from nettop.model.topology.route_case import RouteReport
from nettop.model.topology.route_query import PROTOCOLS, RouteQuery
from nettop.model.topology.route_steps import explain
from nettop.pipeline.route_question import ask_route


def answer(broker: Broker, netns: Netns, here: NamespaceMap | None, query: RouteQuery) -> RouteReport:
    """Return the steps of a packet in a namespace, with its rules counted. UsageError: no such device."""
    if here is None or "devices" not in here.complete:
        raise BrokerError("route: the devices of the namespace are not known", "it may be gone")
    hooks = hook_rules(ruleset_of(broker, netns).picture, query.family)
    return explain(query, here, partial(ask_route, broker, netns), hooks)


def route_lines(report: RouteReport, here: NamespaceMap, json: bool) -> Iterator[str]:
    """Yield the lines: one JSON object, or text."""
    if json:
        yield json_format.dumps(_row(report, here))
        return
    yield " ".join(f"{word} {value}" for word, value in _asked(report.query).items() if value is not None)
    for step in report.steps:
        yield f"  {step.topic:7}  {step.status:13}  {step.text}"


def _asked(query: RouteQuery) -> dict[str, Any]:
    """Return the words of the question; None: not given."""
    source = None if query.source is None else str(query.source)
    words = {"to": str(query.destination), "from": source, "in": query.in_device, "out": query.out_device}
    numbers = {name: getattr(query, name) for name in ("mark", "tos", "proto", "sport", "dport")}
    numbers["proto"] = next((name for name, number in PROTOCOLS.items() if number == query.proto), query.proto)
    return {**{word: value or None for word, value in (words | numbers).items()}, "uid": query.uid}


def _row(report: RouteReport, here: NamespaceMap) -> dict[str, Any]:
    """Return the JSON object; what the kernel did not answer is None."""
    matched, chosen, back = report.matched.route, report.chosen, report.back
    hop = chosen.route.hops[0] if chosen.route is not None and chosen.route.hops else None
    backs = [] if back is None or back.route is None else back.route.hops
    return {
        "kind": "route_answer",
        "netns": here.namespace.label,
        **_asked(report.query),
        "error": os.strerror(chosen.error) if chosen.error else None,
        "type": None if chosen.route is None else type_text(chosen.route.kind),
        "prefix": None if matched is None else destination_text(matched),
        "table": None if matched is None else table_text(matched.table),
        "device": None if hop is None else here.name(hop.ifindex),
        "gateway": None if hop is None or hop.gateway is None else ip_text(*hop.gateway),
        "source": None if chosen.source is None else ip_text(report.query.family, chosen.source),
        "mtu": chosen.mtu or None,
        "back_devices": [here.name(one.ifindex) for one in backs],
        "steps": [{"topic": step.topic, "text": step.text, "status": step.status} for step in report.steps],
    }
