"""Links, addresses and routes from bytes: kinds this kernel lacks by hand, all of them against pyroute2, any bytes."""

from __future__ import annotations

import ipaddress
import struct
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from nettop.decode.rtnetlink import (
    Address,
    Hop,
    Link,
    Route,
    RouteAnswer,
    RouteRows,
    decode_route_answer,
    decode_rtnetlink,
)
from nettop.linux.netlink import ERR_ATTRIBUTE_CUT, ERR_VALUE_SHORT, MalformedError
from nettop.linux.rtnetlink import RTN_BLACKHOLE, RTN_UNICAST
from tests.unit.decode.netlink_bytes import batch, nest, nla, nlmsg

NEWLINK, DELLINK, NEWADDR, NEWROUTE = 16, 17, 20, 24
U32 = st.integers(0, 0xFFFF_FFFF)


def u32(value: int) -> bytes:
    return struct.pack("=I", value)


def link(*attributes: bytes, index: int = 5, family: int = 0, flags: int = 1, kind: int = NEWLINK) -> bytes:
    return nlmsg(kind, struct.pack("=BxHiII", family, 1, index, flags, 0) + b"".join(attributes))


def address(*attributes: bytes, family: int = 2, length: int = 24, index: int = 5) -> bytes:
    return nlmsg(NEWADDR, struct.pack("=BBBBI", family, length, 0x80, 0, index) + b"".join(attributes))


def route(
    *attributes: bytes, family: int = 2, length: int = 0, table: int = 254, kind: int = RTN_UNICAST, flags: int = 0
) -> bytes:
    return nlmsg(
        NEWROUTE, struct.pack("=BBBBBBBBI", family, length, 0, 0, table, 3, 0, kind, flags) + b"".join(attributes)
    )


def decoded(*messages: bytes) -> RouteRows:
    return decode_rtnetlink(batch([b"".join(messages)]))


def test_a_vlan_on_a_bond_in_a_vrf_keeps_what_it_stands_on() -> None:
    vlan = link(
        nla(3, b"bond0.7\0"), nla(4, u32(1500)), nla(5, u32(3)), nla(10, u32(9)), nla(16, b"\x06"),
        nest(18, nla(1, b"vlan\0"), nest(2, nla(1, struct.pack("=H", 7)))), nla(1, bytes(range(6))),
    )  # fmt: skip
    bond = link(nla(3, b"bond0\0"), nest(18, nla(1, b"bond\0")), index=3, flags=0x1043)
    rows = decoded(vlan, bond)
    assert rows.links == [
        Link(5, "bond0.7", "vlan", 1, 1, 1500, 9, 3, None, 6, bytes(range(6))),
        Link(3, "bond0", "bond", 1, 0x1043),
    ]
    assert rows.links[1].up and not len(rows.errors)


def test_a_veth_says_in_which_namespace_its_peer_is() -> None:
    rows = decoded(link(nla(3, b"v0\0"), nla(5, u32(2)), nla(37, struct.pack("=i", 4)), nest(18, nla(1, b"veth\0"))))
    assert rows.links == [Link(5, "v0", "veth", 1, 1, lower=2, peer_nsid=4)]


def test_a_device_name_cannot_drive_the_terminal() -> None:
    rows = decoded(link(nla(3, b"e\x1b[2J\xff\0rest")))
    assert rows.links[0].name == "e\\x1b[2J\\xff"


def test_a_device_name_is_no_longer_than_the_kernels() -> None:
    """Names of two devices are put together for every pair that flows use: 60 kB each would be gigabytes."""
    rows = decoded(link(nla(3, b"d" * 60_000), nest(18, nla(1, b"k" * 5000))))
    assert (rows.links[0].name, rows.links[0].kind) == ("d" * 16, "k" * 16)


def test_bridge_ports_told_again_and_deleted_links_are_passed_over() -> None:
    rows = decoded(link(nla(3, b"p\0"), family=7), link(nla(3, b"p\0"), kind=DELLINK))
    assert not rows.links and not len(rows.errors)


def test_a_point_to_point_address_has_its_own_and_its_peer() -> None:
    rows = decoded(
        address(nla(1, bytes([10, 3, 0, 2])), nla(2, bytes([10, 3, 0, 1])), nla(8, u32(0x280)), length=32),
        address(nla(1, bytes(15) + b"\1"), family=10, length=128, index=1),
    )
    assert rows.addresses == [Address(5, 2, 0x0A030001, 32, 0x0A030002, 0, 0x280), Address(1, 10, 1, 128, 1, 0, 0x80)]


def test_routes_of_big_tables_with_several_hops_and_gateways_of_another_family() -> None:
    hops = struct.pack("=HBBi", 16, 0, 0, 3) + nla(5, bytes([10, 1, 0, 2])) + struct.pack("=HBBi", 8, 1, 0, 4)
    via = nla(18, struct.pack("=H", 10) + bytes.fromhex("fe80") + bytes(13) + b"\1")
    rows = decoded(
        route(nla(1, bytes([10, 9, 0, 0])), nla(9, hops), nla(15, u32(1000)), length=16, table=252),
        route(nla(4, u32(3)), via, nla(6, u32(20))),
        route(nla(1, bytes([10, 8, 0, 0])), length=16, kind=RTN_BLACKHOLE),
        route(nla(4, u32(3)), flags=0x200),  # cloned: a cache entry
        route(nla(4, u32(3)), family=128),  # of the multicast router
    )
    assert rows.routes == [
        Route(2, 1000, 1, 0x0A090000, 16, (Hop(3, (2, 0x0A010002)), Hop(4, flags=1)), protocol=3),
        Route(2, 254, 1, 0, 0, (Hop(3, (10, 0xFE80 << 112 | 1)),), 20, protocol=3),
        Route(2, 254, RTN_BLACKHOLE, 0x0A080000, 16, protocol=3),
    ]


def test_bad_messages_become_error_rows_and_the_next_one_is_read() -> None:
    cut = nlmsg(NEWROUTE, struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0) + struct.pack("=HH", 80, 1))
    short = route(nla(1, b"\x0a"), length=8)
    lies = route(nla(9, struct.pack("=HBBi", 200, 0, 0, 3)))
    rows = decoded(cut, short, lies, nlmsg(NEWLINK, b"\0\0\0\0"), route(nla(4, u32(3))))
    assert rows.errors.code.tolist() == [ERR_ATTRIBUTE_CUT, ERR_VALUE_SHORT, ERR_VALUE_SHORT, ERR_VALUE_SHORT]
    assert [r.hops for r in rows.routes] == [(Hop(3),)]


@given(st.lists(st.binary(max_size=80), max_size=4), st.sampled_from((NEWLINK, NEWADDR, NEWROUTE)))
def test_any_bytes_decode(bodies: list[bytes], kind: int) -> None:
    rows = decode_rtnetlink(batch([nlmsg(kind, body) for body in bodies]))
    assert len(rows.links) + len(rows.addresses) + len(rows.routes) + len(rows.errors) <= 2 * len(bodies) + 1


@given(
    st.integers(1, 1 << 20), st.text("abcz0.@", min_size=1, max_size=15), U32, U32, U32,
    st.sampled_from(("vlan", "bond", "macvlan", "wireguard", "vxlan")), st.binary(min_size=6, max_size=6),
)  # fmt: skip
def test_links_are_what_pyroute2_makes_of_them(
    index: int, name: str, mtu: int, master: int, lower: int, kind: str, mac: bytes
) -> None:
    message = link(
        nla(1, mac), nla(3, name.encode() + b"\0"), nla(4, u32(mtu)), nla(5, u32(lower)), nla(10, u32(master)),
        nest(18, nla(1, kind.encode() + b"\0")), index=index,
    )  # fmt: skip
    theirs = ifinfmsg(message)
    theirs.decode()
    (ours,) = decoded(message).links
    assert ours.ifindex == theirs["index"] and ours.flags == theirs["flags"] and ours.arphrd == theirs["ifi_type"]
    assert (ours.name, ours.mtu) == (theirs.get_attr("IFLA_IFNAME"), theirs.get_attr("IFLA_MTU"))
    assert (ours.lower, ours.master) == (theirs.get_attr("IFLA_LINK"), theirs.get_attr("IFLA_MASTER"))
    assert ours.kind == theirs.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND")
    assert ours.address.hex(":") == theirs.get_attr("IFLA_ADDRESS")


@given(st.ip_addresses(), st.integers(0, 32), U32, st.integers(1, 1 << 20))
def test_addresses_are_what_pyroute2_makes_of_them(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address, length: int, flags: int, index: int
) -> None:
    family = 2 if ip.version == 4 else 10
    message = address(
        nla(1, ip.packed), nla(2, ip.packed), nla(8, u32(flags)), family=family, length=length, index=index
    )
    theirs = ifaddrmsg(message)
    theirs.decode()
    (ours,) = decoded(message).addresses
    assert ipaddress.ip_address(theirs.get_attr("IFA_LOCAL")) == ip and ours.address == int(ip) == ours.peer
    assert (ours.length, ours.ifindex) == (theirs["prefixlen"], theirs["index"])
    assert ours.flags == (theirs.get_attr("IFA_FLAGS") or theirs["flags"])


@given(st.ip_addresses(), st.ip_addresses(v=4), st.integers(0, 32), U32.filter(bool), U32, st.integers(1, 1 << 20))
def test_routes_are_what_pyroute2_makes_of_them(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address,
    gateway: ipaddress.IPv4Address,
    length: int, table: int, metric: int, oif: int,
) -> None:  # fmt: skip
    family = 2 if ip.version == 4 else 10
    via = nla(5, gateway.packed if family == 2 else bytes(12) + gateway.packed)
    message = route(
        nla(1, ip.packed), nla(4, u32(oif)), via, nla(6, u32(metric)), nla(15, u32(table)), family=family, length=length
    )
    theirs = rtmsg(message)
    theirs.decode()
    (ours,) = decoded(message).routes
    assert ours.destination == int(ipaddress.ip_address(theirs.get_attr("RTA_DST")))
    assert (ours.table, ours.metric, ours.kind) == (theirs.get_attr("RTA_TABLE"), metric, theirs["type"])
    assert ours.hops == (Hop(oif, (family, int(ipaddress.ip_address(theirs.get_attr("RTA_GATEWAY"))))),)


@given(st.data())
def test_a_damaged_answer_to_a_question_for_a_route_is_malformed_or_an_answer(data: st.DataObject) -> None:
    whole = route(nla(1, bytes(4)), nla(4, u32(1)), nla(8, nla(2, u32(1300))), nla(7, b"\x0a\0\0\1"))
    assert decode_route_answer(whole).mtu == 1300 and decode_route_answer(whole).source == 0x0A000001
    cut = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=4)):
        if at < len(cut):
            cut[at] = data.draw(st.integers(0, 255))
    with suppress(MalformedError):
        assert isinstance(decode_route_answer(bytes(cut)), RouteAnswer)
