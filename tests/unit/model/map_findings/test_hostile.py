"""No content of a recording makes a check, a question or a table of the map raise an error."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from nettop.decode.rtnetlink import Address, Hop, Link, Route
from nettop.decode.topology.objects import Device, Namespace, PolicyRule, PortVlan
from nettop.errors import UsageError
from nettop.model.map_findings.facts import MapFacts
from nettop.model.map_findings.findings import map_findings, where
from nettop.model.topology.host_map import HostMap, NamespaceMap
from nettop.model.topology.policy import deciding
from nettop.model.topology.route_query import parse
from nettop.model.topology.sysctls import rows

U32, INDEX = st.integers(0, 0xFFFF_FFFF), st.integers(0, 4)
NAMES = st.sampled_from(("eth0", "eth0.5", "mv 0", "from x", "iif", "\\x1b[31m", ""))
KINDS = st.sampled_from(("", "veth", "bridge", "macvlan", "vxlan", "ipvlan", "gre", "vrf", "vlan"))
VALUES = st.sampled_from(
    ("0", "1", "2", "--5", "-1", "x", "", "99999999999999999999", "10.0.0.1", "any", "fe80::1", "on")
)
PARAMETERS = st.tuples(
    *(st.tuples(st.just(name), VALUES) for name in ("mode", "remote", "table", "vlan_filtering", "stp_state", "state"))
)
SELECTORS = st.lists(
    st.sampled_from(
        ("not", "from", "to", "all", "10.0.0.0/99", "fwmark", "0x7", "iif", "lo", "sport", "1-", "tos", "x")
    ),
    max_size=7,
).map(" ".join)
ACTIONS = st.sampled_from(("lookup 7", "goto 100", "lookup main suppress_prefixlength 0", "unreachable", "nop", ""))


@st.composite
def spaces(draw: Callable[..., object], label: str) -> NamespaceMap:
    links = st.builds(
        Link, INDEX, NAMES, KINDS, st.just(1), U32, U32, INDEX, INDEX, st.none() | st.integers(-1, 2), st.integers(0, 9)
    )
    devices = draw(st.lists(st.builds(Device, links, parameters=PARAMETERS, port=PARAMETERS), max_size=4))
    hops = st.lists(st.builds(Hop, INDEX, st.none() | st.tuples(st.just(2), U32)), max_size=2).map(tuple)
    routes = st.builds(Route, st.sampled_from((2, 10)), U32, st.integers(0, 12), U32, st.integers(0, 32), hops, U32)
    addresses = st.builds(Address, INDEX, st.sampled_from((2, 10)), U32, st.integers(0, 255), U32, st.integers(0, 255))
    names = st.sampled_from([f"net.ipv4.conf.{one}.rp_filter" for one in ("all", "eth0", "eth0/5")])
    more = st.sampled_from(
        ("net.ipv4.ip_forward", "net.netfilter.nf_conntrack_count", "net.netfilter.nf_conntrack_max")
    )
    rules = st.builds(PolicyRule, st.sampled_from((2, 10)), U32, SELECTORS, ACTIONS, U32)
    return NamespaceMap(
        Namespace(label, inode=len(label), nsids={0: 1, 1: 2}),
        {device.link.ifindex: device for device in devices},
        tuple(draw(st.lists(addresses, max_size=4))),
        tuple(draw(st.lists(routes, max_size=4))),
        tuple(draw(st.lists(rules, max_size=4))),
        vlans=tuple(draw(st.lists(st.builds(PortVlan, INDEX, INDEX, st.booleans(), st.booleans()), max_size=2))),
        sysctls=draw(st.dictionaries(names | more, VALUES, max_size=5)),
        complete={"devices", "addresses", "routes", "rules", "sysctls"},
    )


@given(spaces("a"), spaces("bb"))
def test_checks_of_any_map_yield_findings_or_none(first: NamespaceMap, second: NamespaceMap) -> None:
    hosts = HostMap()
    hosts._of = {"a": first, "bb": second}
    hosts._by_inode = {space.namespace.inode: space for space in hosts._of.values()}
    for one in map_findings(MapFacts(hosts)):
        assert one.summary and one.evidence and where(one)
    for device in ("", *(one.link.name for one in first.devices.values())):
        assert all(row.name for row in rows(first.sysctls, device))


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(("to", "from", "in", "mark", "1", "::1", "10.0.0.1:80"))).map(" ".join)
)
def test_any_text_is_a_question_for_a_route_or_refused(text: str) -> None:
    try:
        query = parse(text)
    except UsageError:
        return
    rule = PolicyRule(query.family, 1, text, "lookup 7", 7)
    assert deciding([rule], [], query, None) is None
