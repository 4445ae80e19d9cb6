"""Answers of `nettop map` beside the map: the route of a packet, findings, and the sysctls explained."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from nettop.broker.client import Broker
from nettop.broker.requests import Netns
from nettop.console import say
from nettop.decode.topology.objects import Namespace
from nettop.errors import BrokerError, NotPermitted, UsageError
from nettop.headless.finding_lines import finding_lines
from nettop.headless.map_route import answer, route_lines
from nettop.headless.map_rules import missing_words, ruleset_of
from nettop.kinds import TextKind
from nettop.model.findings import Finding
from nettop.model.map.sysctl_lines import sysctl_lines
from nettop.model.map_findings.facts import MapFacts
from nettop.model.map_findings.findings import map_findings, where
from nettop.model.map_findings.rules import words_matter
from nettop.model.ruleset.ruleset import Ruleset
from nettop.model.topology.device_words import label_text
from nettop.model.topology.host_map import HostMap, NamespaceMap
from nettop.model.topology.route_case import RouteReport
from nettop.model.topology.route_query import parse
from nettop.pipeline.engine import Engine
from nettop.pipeline.live_sources import LiveSources
from nettop.pipeline.route_question import is_dropped

_AT_ONCE = 4  # namespaces whose rules are read


def rules_of(broker: Broker, hosts: HostMap, space: Namespace) -> Ruleset | BrokerError | None:
    """Return the rules of a namespace for its findings, or why they cannot be read; None: it has ended.

    A namespace that was recreated under its name meanwhile is read once more.
    """

    def wants(ruleset: Ruleset) -> Collection[TextKind]:
        matter = words_matter(MapFacts(hosts, {space.label: ruleset}.get))
        return missing_words(ruleset.picture) if matter else ()

    for _ in range(2):
        try:
            netns = broker.netns(space.label, again=True)
        except BrokerError as error:
            return error if isinstance(error, NotPermitted) else None
        try:
            return ruleset_of(broker, netns, wants) if netns.inode == space.inode else None
        except BrokerError as error:
            if not _is_gone(broker, netns):
                return error
        finally:
            with suppress(BrokerError):
                broker.leave(netns)
    return None


def _is_gone(broker: Broker, netns: Netns) -> bool:
    try:
        broker.devices(netns)
    except BrokerError:
        return True
    return False


class MapAnswers:
    """The answers that the options ask for. To be called while the broker runs; lines() has them then."""

    def __init__(self, options: argparse.Namespace) -> None:
        """UsageError: the packet is not understood, or is asked of a recording."""
        self._options = options
        self._query = None if options.route is None else parse(options.route)
        if self._query is not None and options.read:
            raise UsageError("--route asks the kernel", "a recording has the routes, but cannot answer")
        self.asked = bool(self._query or options.findings or options.sysctls)
        self._rulesets: dict[str, Ruleset] = {}
        self._report: tuple[RouteReport, NamespaceMap] | None = None
        self._live: list[Finding] | None = None  # of a live host

    def __call__(self, live: LiveSources, engine: Engine) -> None:
        """Ask for the route in the namespace of --netns, or for findings; the rules are read if those are asked for."""
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
                found = [*pool.map(partial(rules_of, live.broker, engine.host_map), entered)]
            for one, rules in zip(entered, found, strict=True):
                if isinstance(rules, Ruleset):
                    self._rulesets[one.label] = rules
                elif rules is not None:
                    say(f"rules of {label_text(one.label)}: {rules}")
        if self._query is None and not self._options.sysctls:
            drops = partial(is_dropped, live.broker)
            self._live = map_findings(MapFacts(engine.host_map, self._rulesets.get, drops))

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
        labels = {space.namespace.label for space in chosen}
        known = self._live
        if known is None:
            known = map_findings(MapFacts(engine.host_map, engine.rulesets.of))
        found = [one for one in known if dict(one.place)["netns"] in labels]
        if not self._options.findings:
            if found and not self._options.json:
                yield from ("", "findings (those of rules with --findings):")
            elif not found:
                return
        yield from finding_lines(found, "", self._options.json, where)
