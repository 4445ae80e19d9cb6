"""The map of the host, and the rules of some of its namespaces, read from the kernel for a test."""

from __future__ import annotations

import time
from collections.abc import Callable

from nettop.broker.client import Broker
from nettop.headless.rule_reading import RULE_FEEDS, Settled
from nettop.model.topology.host_map import HostMap, NamespaceMap
from nettop.pipeline.engine import Engine
from nettop.pipeline.ingest import Plumbing
from nettop.pipeline.live_sources import LiveSources
from nettop.pipeline.map_sources import MapSources

PARTS = {"devices", "addresses", "routes", "rules", "neighbours", "sysctls"}


def engine_with(broker: Broker, *specs: str, with_rules: str | None = None) -> Engine:
    """Return the models with what the map knows of these namespaces, and the rules of one."""
    plumbing, engine = Plumbing(), Engine(with_rules or "")
    sources = MapSources(broker, plumbing)
    sources.start(once=True)
    live = None if with_rules is None else LiveSources(broker, broker.netns(with_rules), plumbing)
    if live is not None:
        live.watch(*RULE_FEEDS)
    settled: Callable[[Engine], bool] = Settled() if with_rules is not None else lambda engine: True
    until = time.monotonic() + 30
    while not (_complete(engine.host_map, specs) and settled(engine)):
        assert time.monotonic() < until, "the map is not complete within 30 s"
        for item in plumbing.handoff.get(0.05)[1]:
            engine.apply(item, time.time_ns())
        listed = [known.namespace for known in engine.host_map.namespaces()]
        sources.follow([one for one in listed if one.label in specs])
    if live is not None:
        live.close()
    sources.stop()
    plumbing.halt()
    return engine


def _complete(hosts: HostMap, specs: tuple[str, ...]) -> bool:
    known = [hosts.of(spec) for spec in specs]
    return all(space is not None and space.complete >= PARTS for space in known)


def namespace_map(broker: Broker, spec: str) -> NamespaceMap:
    """Return what the map knows of a namespace, as of now."""
    found = engine_with(broker, spec).host_map.of(spec)
    assert found is not None
    return found
