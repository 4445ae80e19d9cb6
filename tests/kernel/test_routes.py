"""Routes read live: what we say of a flow's devices is what `ip route get` says, also after routes change."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nettop.batch import Batch, Counter64, DumpMark, End, Item
from nettop.broker.client import Broker
from nettop.decode.rtnetlink import decode_rtnetlink
from nettop.linux.netlink import NETLINK_ROUTE
from nettop.model.topology.routing import Routing
from nettop.pipeline import feeds
from nettop.sources.dumps import DumpSource
from nettop.sources.netlink import NetlinkEvents
from tests.kernel.live import read_once, read_until
from tests.kernel.namespaces import Lab, poll, run_in

pytestmark = pytest.mark.kernel

ROUTER = """
link add lan0 type bridge
link set lan0 up
link add wan0 type veth peer name wan1
link set wan0 up
link set wan1 up
link add mac0 link wan0 type macvlan
link set mac0 up
address add 192.168.1.1/24 dev lan0
address add 100.64.0.1/24 dev wan0
address add 10.3.0.1 peer 10.3.0.2 dev mac0
address add fd00:1::1/64 dev lan0 nodad
address add fd00:2::1/64 dev wan0 nodad
route add default via 100.64.0.254
route add 10.9.0.0/16 dev mac0
route add 10.9.1.0/24 dev lan0
route add 10.9.1.7/32 dev wan0
route add blackhole 10.66.0.0/16
route add unreachable 10.67.0.0/16
route add 172.16.0.0/12 dev lan0 metric 50
route add 172.16.0.0/12 dev wan0 metric 10
route add default via fd00:2::9
route add fd00:9::/32 dev lan0
"""
ASKED = (
    *("192.168.1.77", "192.168.1.1", "192.168.1.255", "100.64.0.7", "9.9.9.9", "10.3.0.2", "10.3.0.1", "10.9.2.2"),
    *(
        "10.9.1.9",
        "10.9.1.7",
        "10.66.1.1",
        "10.67.1.1",
        "172.17.0.1",
        "127.0.0.9",
        "fd00:1::5",
        "fd00:1::1",
        "fd00:9::1",
    ),
    *("2001:db8::1", "::1"),
)


@pytest.fixture
def router(lab: Lab) -> str:
    ns = lab.netns("r")
    run_in(ns, "ip", "-batch", "-", stdin=ROUTER)
    return ns


def kernel_says(ns: str, address: str) -> str:
    """`ip route get` in our words."""
    out = run_in(ns, "ip", "-j", "route", "get", address, check=False).strip()
    found = json.loads(out)[0] if out else {}
    if found.get("type") in ("local", "broadcast", "blackhole", "unreachable"):
        return {"broadcast": "group"}.get(found["type"], found["type"])
    return str(found.get("dev", ""))


def we_say(routing: Routing, address: str) -> str:
    lookup, number = routing.lookup(0), ipaddress.ip_address(address)
    assert lookup is not None
    hi, lo = int(number) >> 64, int(number) & (1 << 64) - 1
    family = np.array([2 if number.version == 4 else 10])
    return lookup.places[int(lookup.find(family, np.array([hi], np.uint64), np.array([lo], np.uint64))[0])]


def fed(routing: Routing, items: list[Item]) -> None:
    for item in items:
        if isinstance(item, Batch):
            rows = decode_rtnetlink(item)
            assert not len(rows.errors)
            routing.apply(rows, 0, 0)
        elif isinstance(item, DumpMark):
            routing.apply(item, 0, 0)


def opened(broker: Broker, spec: str, interval: float | None) -> DumpSource:
    ns = broker.netns(spec)
    sock = broker.netlink_socket(ns, NETLINK_ROUTE)
    feed = replace(feeds.ROUTES, every_s=interval)
    return feed.dump(feed.new_stream(1, ns.label), broker, sock, Counter64())


def once(broker: Broker, spec: str) -> Routing:
    """What one round of dumps tells."""
    routing, source = Routing(), opened(broker, spec, None)
    fed(routing, read_until(source, lambda items: any(isinstance(item, End) for item in items)))
    source.close()
    return routing


def test_every_address_lies_where_ip_route_get_says(router: str, broker: Broker) -> None:
    routing = once(broker, router)
    ours = {address: we_say(routing, address) for address in ASKED}
    theirs = {address: kernel_says(router, address) for address in ASKED}
    theirs |= {"10.66.1.1": "blackhole", "10.67.1.1": "unreachable"}  # of these it only says an error
    assert ours == theirs


def test_links_and_addresses_are_those_of_ip(router: str, broker: Broker) -> None:

    def both() -> tuple[Routing, list[dict[str, Any]]] | None:
        routing, theirs = once(broker, router), json.loads(run_in(router, "ip", "-j", "-d", "address"))
        return (routing, theirs) if in_routing(routing) == in_ip(theirs) else None

    found = poll(both, what="the same addresses, once IPv6's own have come")
    assert found is not None
    routing, theirs = found
    assert {link.name: (link.ifindex, link.mtu, link.kind) for link in routing.links(0).values()} == {
        link["ifname"]: (link["ifindex"], link["mtu"], link.get("linkinfo", {}).get("info_kind", "")) for link in theirs
    }
    names = {link.ifindex: link for link in routing.links(0).values()}
    mac0 = next(link for link in names.values() if link.name == "mac0")
    assert names[mac0.lower].name == "wan0"


def in_routing(routing: Routing) -> set[tuple[int, str, int]]:
    """Device, address and prefix length of every address."""
    text = {2: ipaddress.IPv4Address, 10: ipaddress.IPv6Address}
    return {(a.ifindex, str(text[a.family](a.address)), a.length) for a in routing.addresses(0)}


def in_ip(links: list[dict[str, Any]]) -> set[tuple[int, str, int]]:
    """The same of `ip -j address`."""
    return {(link["ifindex"], a["local"], a["prefixlen"]) for link in links for a in link["addr_info"]}


def test_a_changed_route_is_read_again_soon(router: str, broker: Broker) -> None:
    routing, source = Routing(), opened(broker, router, 3600.0)
    ns = broker.netns(router)
    sock = broker.netlink_socket(ns, NETLINK_ROUTE, feeds.ROUTE_EVENTS.groups)
    stream, announces = feeds.ROUTE_EVENTS.new_stream(2, ns.label), feeds.ROUTE_EVENTS.announces
    events = NetlinkEvents(stream, sock, Counter64(), announces, source.poke, lambda: 1_000_000_000)
    fed(routing, read_until(source, lambda items: sum(isinstance(i, DumpMark) and not i.begin for i in items) == 3))
    read_until(events, bool)
    for device in ("lan0", "mac0"):
        run_in(router, "ip", "route", "replace", "default", "dev", device)

        def moved(device: str = device) -> bool:
            read_once(events)
            fed(routing, read_once(source))
            return we_say(routing, "9.9.9.9") == device

        poll(moved, what=f"the default route by {device}")
    events.close()
    source.close()
