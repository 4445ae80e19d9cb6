"""A session with the map of a gateway, filled by hand."""

from __future__ import annotations

from nettop.model.findings import Finding
from nettop.model.map.drawing import MapDrawing
from nettop.model.map.lists import MapLists
from nettop.model.map.table import MapTable
from nettop.model.topology.host_map import HostMap
from tests.ui import plain_tables
from tests.ui.plain_session import PlainSession
from tests.unit.model.map.hosts import screens


def map_session(hosts: HostMap | None = None) -> PlainSession:
    """Return a session with flows and the map of a gateway, shown from gw-a."""
    table = MapTable(screens() if hosts is None else hosts, lambda: "gw-a", lambda label: ())
    views = {"map": table, "drawing": MapDrawing(table), "lists": MapLists(table), "flows": plain_tables.flows()}
    found = PlainSession(views)
    found.first_view = "map"
    return found


def with_findings(source: PlainSession) -> PlainSession:
    """Put two findings into the map's table."""
    table = source.views["map"]
    place = (("netns", "gw-a"), ("device", "vm4"), ("ifindex", 9))
    table._find = lambda: [
        Finding("pair-mtu", "MTU 1500 here, 1400 at the other end", place, ("vm4 in gw-a: mtu 1500", "eth0: mtu 1400")),
        Finding("forwarding-off", "2 rules forward, but ip_forward is 0", (("netns", "lan-a"),), ("sysctl",)),
    ]
    return source
