"""Devices that point at themselves and at each other, in the kernel's own bytes: all that shows the map ends."""

from __future__ import annotations

import json
import struct

from hypothesis import given
from hypothesis import strategies as st

from nettop.batch import DumpMark, Text
from nettop.decode.topology.decoder import decode_map
from nettop.decode.topology.namespaces import decode_namespaces
from nettop.kinds import TextKind
from nettop.model.map.drawing import DrawingSnapshot, MapDrawing
from nettop.model.map.graph import graph_lines
from nettop.model.map.lines import json_lines
from nettop.model.map.lists import LISTS, MapLists
from nettop.model.map.table import MapTable
from nettop.model.map.tree_lines import tree_lines
from nettop.model.map_findings.facts import MapFacts
from nettop.model.map_findings.findings import map_findings
from nettop.model.table import SortKey, ViewSpec
from nettop.model.topology.host_map import HostMap
from nettop.ui.widgets.map_lines import draw
from tests.unit.decode.netlink_bytes import batch, nest, nla, nlmsg

NEWLINK, IFNAME, MTU, LINK, MASTER, LINKINFO, NETNSID = 16, 3, 4, 5, 10, 18, 37
KINDS = ("veth", "bridge", "macvlan", "vlan", "vxlan", "bond", "vrf", "ifb", "tun", "ipvlan", "")
INDEXES = st.integers(0, 5)
Pointers = tuple[str, str, int, int, int | None]  # kind, kind of the master, lower device, master, nsid
POINTERS = st.tuples(st.sampled_from(KINDS), st.sampled_from(KINDS), INDEXES, INDEXES, st.none() | st.integers(-1, 3))
DEVICES = st.lists(POINTERS, max_size=5)


def u32(value: int) -> bytes:
    return struct.pack("=i", value)


def newlink(index: int, of: Pointers) -> bytes:
    kind, master_kind, lower, master, nsid = of
    info = nla(1, kind.encode() + b"\0") + nla(4, master_kind.encode() + b"\0")
    body = struct.pack("=BxHiII", 0, 1, index, 1, 0) + nla(IFNAME, b"d%d\0" % index) + nla(MTU, u32(1500 + index))
    body += nla(LINK, u32(lower)) + nla(MASTER, u32(master)) + nest(LINKINFO, info)
    return nlmsg(NEWLINK, body + (b"" if nsid is None else nla(NETNSID, u32(nsid))))


def host(*spaces: list[Pointers]) -> HostMap:
    """Return the map of these namespaces, whose nsids are the numbers of each other."""
    labels = [chr(97 + number) for number in range(len(spaces))]
    nsids = {str(number): number + 1 for number in range(len(spaces))}
    listed = [{"label": one, "inode": at, "names": [one], "nsids": nsids} for at, one in enumerate(labels, 1)]
    hosts = HostMap()
    body = b"".join(json.dumps(one).encode() + b"\n" for one in listed)
    hosts.apply(decode_namespaces(Text(0, 0, 0, TextKind.NAMESPACES, body)), 0, 0)
    for label, devices in zip(labels, spaces, strict=True):
        for begin in (True, False):
            hosts.apply(DumpMark(0, 0, 0, "map-links", begin, True, netns=label), 0, 0)
            if begin and devices:
                messages = b"".join(newlink(index, one) for index, one in enumerate(devices, 1))
                hosts.apply(decode_map(batch([messages])), 0, 0)
    return hosts


def shown(hosts: HostMap) -> int:
    """Go through every table, detail and text of the map; the number of rows of its tree."""
    table, spaces = MapTable(hosts, lambda: "a"), hosts.namespaces()
    lists, drawing = MapLists(table), MapDrawing(table)
    rows = table.snapshot(ViewSpec(MapTable.default_columns, height=100), 0).rows
    table.snapshot(ViewSpec(MapTable.default_columns, height=100, sort=(SortKey("kind"),)), 0)
    for row in rows:
        assert table.detail(row.ident, 0) is not None
        for what in LISTS:
            lists.snapshot(ViewSpec(MapLists.default_columns, height=9, group=what, scope=row.ident), 0)
    found = drawing.snapshot(ViewSpec(("name",), height=100), 0)
    assert isinstance(found, DrawingSnapshot)
    for width in (40, 120):
        assert draw(found.scene, width)
    for lines in (json_lines(hosts, spaces), tree_lines(hosts, spaces), graph_lines(hosts, spaces)):
        assert [*lines]
    map_findings(MapFacts(hosts))
    return len(rows)


@given(DEVICES, DEVICES, DEVICES)
def test_devices_that_point_anywhere_are_each_shown_once(
    one: list[Pointers], other: list[Pointers], third: list[Pointers]
) -> None:
    assert shown(host(one, other, third)) == 3 + len(one) + len(other) + len(third)


def test_pairs_lower_devices_and_masters_that_lead_around() -> None:
    itself = [("veth", "", 1, 0, None), ("veth", "", 2, 0, 0), ("bridge", "bridge", 3, 3, None)]
    assert shown(host(itself)) == 4
    chain = [("vlan", "bridge", 2, 3, None), ("macvlan", "bond", 3, 1, None), ("bridge", "vrf", 1, 2, None)]
    assert shown(host(chain)) == 4
    across = [[("macvlan", "", 1, 0, (at + 1) % 3)] for at in range(3)]  # each on the next namespace's
    assert shown(host(*across)) == 6
