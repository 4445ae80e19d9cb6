"""Answers of `nettop map` beside the map: the route of a packet, findings, and the sysctls explained."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from nettop.batch import Text
from nettop.broker.client import Broker
from nettop.console import say
from nettop.decode.topology.namespaces import decode_namespaces
from nettop.decode.topology.objects import Namespace
from nettop.errors import BrokerError, UsageError
from nettop.headless.finding_lines import finding_lines
from nettop.headless.map_route import answer, route_lines
from nettop.headless.map_rules import ruleset_of
from nettop.kinds import TextKind
from nettop.model.map.sysctl_lines import sysctl_lines
from nettop.model.map_findings.facts import MapFacts
from nettop.model.map_findings.findings import map_findings, where
from nettop.model.ruleset.ruleset import Ruleset
from nettop.model.topology.device_words import label_text
from nettop.model.topology.host_map import NamespaceMap
from nettop.model.topology.route_case import RouteReport
from nettop.model.topology.route_query import parse
from nettop.pipeline.engine import Engine
from nettop.pipeline.live_sources import LiveSources

_AT_ONCE = 4  # namespaces whose rules are read


def _rules(broker: Broker, space: Namespace) -> tuple[Namespace, Ruleset | BrokerError]:
    """Return the rules of a namespace, or why they cannot be read."""
    try:
        return space, ruleset_of(broker, broker.netns(space.label))
    except BrokerError as error:
        return space, error


def _listed(broker: Broker) -> set[tuple[str, int]]:
    """Return the labels and inodes of the namespaces that there are now. Another process may hold one that ended."""
    body = broker.text(broker.netns(""), TextKind.NAMESPACES)
    return {(one.label, one.inode) for one in decode_namespaces(Text(0, 0, 0, TextKind.NAMESPACES, body)).namespaces}


class MapAnswers:
    """The answers that the options ask for. To be called while the broker runs, then their lines are known."""

    def __init__(self, options: argparse.Namespace) -> None:
        """UsageError: the packet is not understood, or is asked of a recording."""
        self._options = options
        self._query = None if options.route is None else parse(options.route)
        if self._query is not None and options.read:
            raise UsageError("--route asks the kernel", "a recording has the routes, but cannot answer")
        self.asked = bool(self._query or options.findings or options.sysctls)
        self._rulesets: dict[str, Ruleset] = {}
        self._report: tuple[RouteReport, NamespaceMap] | None = None

    def __call__(self, live: LiveSources, engine: Engine) -> None:
        """Ask for the route in the namespace of --netns, or read the rules for findings."""
        spaces = engine.host_map.namespaces()
        here = [space for space in spaces if space.namespace.inode == live.netns.inode]
        if self._query is not None:
            if not here:
                raise BrokerError("route: the namespace is gone")
            self._report = answer(live.broker, live.netns, here[0], self._query), here[0]
        elif self._options.findings:
            chosen = here if self._options.netns is not None else spaces
            entered = [one.namespace for one in chosen if one.namespace.inode > 0 and not one.namespace.refusal]
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                found = [*pool.map(partial(_rules, live.broker), entered)]
            refused = [(one, rules) for one, rules in found if isinstance(rules, BrokerError)]
            self._rulesets = {one.label: rules for one, rules in found if not isinstance(rules, BrokerError)}
            left = _listed(live.broker) if refused else ()
            for one, error in refused:
                if (
                    one.label,
                    one.inode,
                ) in left or self._options.netns is not None:  # others have ended, which is no fault
                    say(f"rules of {label_text(one.label)}: {error}")

    def lines(self, engine: Engine, chosen: Sequence[NamespaceMap]) -> Iterator[str] | None:
        """Return the lines that are printed instead of the map; None: the map is."""
        json = self._options.json
        if self._report is not None:
            return route_lines(*self._report, json)
        if self._options.findings:
            return self.findings(engine, chosen)
        return sysctl_lines(chosen, json) if self._options.sysctls else None

    def findings(self, engine: Engine, chosen: Sequence[NamespaceMap]) -> Iterator[str]:
        """Yield the findings about these namespaces; after the map with a heading, and only if there are any."""
        rulesets = engine.rulesets.of if self._options.read else self._rulesets.get
        labels = {space.namespace.label for space in chosen}
        found = [one for one in map_findings(MapFacts(engine.host_map, rulesets)) if dict(one.place)["netns"] in labels]
        if not self._options.findings:
            if found and not self._options.json:
                yield from ("", "findings (those of rules with --findings):")
            elif not found:
                return
        yield from finding_lines(found, "", self._options.json, where)
