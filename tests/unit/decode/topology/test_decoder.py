"""The map's messages from bytes: kinds that this kernel lacks from pyroute2's encoder or by hand, and any bytes."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from nettop.decode.topology import kinds
from nettop.decode.topology.decoder import MapRows, decode_map
from nettop.decode.topology.objects import (
    Device,
    LinkCounts,
    Neighbour,
    Nexthop,
    PolicyRule,
    PortGroup,
    PortVlan,
    Queue,
)
from nettop.linux.netlink import ERR_MALFORMED, ERR_VALUE_SHORT
from tests.unit.decode.netlink_bytes import batch, nest, nla, nlmsg

NEWLINK, NEWNEIGH, NEWRULE, NEWQDISC, NEWTFILTER, NEWSTATS, NEWNEXTHOP = 16, 28, 32, 36, 44, 92, 104


ATTRIBUTES = st.lists(st.tuples(st.integers(0, 60), st.binary(max_size=40)), max_size=6).map(
    lambda found: b"".join(nla(kind, raw) for kind, raw in found)
)


def u32(value: int) -> bytes:
    return struct.pack("=I", value)


def link(*attributes: bytes, index: int = 5, family: int = 0) -> bytes:
    return nlmsg(NEWLINK, struct.pack("=BxHiII", family, 1, index, 1, 0) + b"".join(attributes))


def of_kind(kind: str, *data: bytes, port_of: str = "", port: tuple[bytes, ...] = ()) -> Device:
    """A device of a kind by hand: the attributes of its IFLA_INFO_DATA, and of its IFLA_INFO_SLAVE_DATA."""
    info = nla(1, kind.encode() + b"\0") + nest(2, *data)
    info += nla(4, port_of.encode() + b"\0") + nest(5, *port) if port_of else b""
    (device,) = decoded(link(nla(3, b"x0\0"), nest(18, info))).devices
    return device


def encoded(kind: str, **parameters: Any) -> Device:
    """The same from pyroute2's encoder, by the names of linux/if_link.h without IFLA_."""
    message = ifinfmsg()
    data = {"attrs": [[f"IFLA_{name.upper()}", value] for name, value in parameters.items()]}
    info = {"attrs": [["IFLA_INFO_KIND", kind], ["IFLA_INFO_DATA", data]]}
    message["index"], message["header"]["type"] = 5, NEWLINK
    message["attrs"] = [["IFLA_IFNAME", "x0"], ["IFLA_LINKINFO", info]]
    message.encode()
    (device,) = decoded(bytes(message.data)).devices
    return device


def decoded(*messages: bytes) -> MapRows:
    return decode_map(batch([b"".join(messages)]))


def words(device: Device) -> str:
    return " ".join(f"{name} {value}" for name, value in device.parameters)


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (encoded("vlan", vlan_protocol=0x88A8, vlan_id=7), "protocol 802.1ad id 7"),
        (encoded("ipvlan", ipvlan_mode=1), "mode l3"),
        (of_kind("ipvtap", nla(1, b"\2\0"), nla(2, b"\1\0")), "mode l3s flag private"),
        (of_kind("ipvlan", nla(1, b"\0\0"), nla(2, b"\0\0")), "mode l2 flag bridge"),
        (
            encoded("bond", bond_mode=1, bond_active_slave=3, bond_miimon=100, bond_xmit_hash_policy=1),
            "mode active-backup active_slave 3 miimon 100 xmit_hash_policy layer3+4",
        ),
        (encoded("bond", bond_mode=4, bond_ad_lacp_rate=1), "mode 802.3ad ad_lacp_rate fast"),
        (
            encoded("gre", gre_local="10.0.0.1", gre_remote="10.0.0.2", gre_ttl=0, gre_ikey=7, gre_pmtudisc=1),
            "remote 10.0.0.2 local 10.0.0.1 ttl inherit pmtudisc on ikey 0.0.0.7",
        ),
        (encoded("ipip", ipip_local="10.0.0.1", ipip_ttl=64), "local 10.0.0.1 ttl 64"),
        (encoded("sit", sit_remote="192.0.2.9", sit_proto=41), "proto ip6ip remote 192.0.2.9"),
        (encoded("ip6tnl", ip6tnl_local="fd00::1", ip6tnl_remote="fd00::2"), "remote fd00::2 local fd00::1"),
        (encoded("ip6gre", ip6gre_local="fd00::1", ip6gre_remote="fd00::2"), "remote fd00::2 local fd00::1"),
        (encoded("vrf", vrf_table=1001), "table 1001"),
        (encoded("ipoib", ipoib_pkey=0x8001, ipoib_mode=1), "pkey 0x8001 mode connected"),
        (encoded("geneve", geneve_id=9, geneve_remote="10.0.0.2", geneve_port=6081), "id 9 remote 10.0.0.2 port 6081"),
        (encoded("vxlan", vxlan_id=5, vxlan_group="239.1.1.1"), "id 5 group 239.1.1.1"),
        (encoded("vxlan", vxlan_id=5, vxlan_group6="fd00::2", vxlan_gbp=True), "id 5 remote6 fd00::2 gbp on"),
        (
            of_kind("vxlan", nla(1, u32(5)), nla(6, b"\1"), nla(26, b"\0\0\xbe\xef"), nla(25, b"\1"), nla(30, b"\1")),
            "id 5 tos 0x1 label 0xbeef external on vnifilter on",
        ),
        (
            of_kind("macvlan", nla(1, u32(16)), nla(6, u32(2)), nest(5, nla(4, bytes(6)), nla(4, b"\2\0\0\0\0\1"))),
            "mode source macaddr_count 2 macaddr_data 00:00:00:00:00:00 02:00:00:00:00:01",
        ),
        (
            of_kind("vlan", nla(1, b"\7\0"), nest(4, nla(1, u32(1) + u32(2))), nest(3, nla(1, u32(3) + u32(4)))),
            "id 7 ingress_qos 1:2 egress_qos 3:4",
        ),
        (
            of_kind("bond", nla(1, b"\1"), nla(7, u32(100)), nest(8, nla(0, bytes((10, 0, 0, 1))), nla(1, bytes(4))),
                    nla(29, b"\1"), nla(30, b"\2")),
            "mode active-backup arp_interval 100 arp_ip_target 10.0.0.1,0.0.0.0 arp_missed_max 2 ad_lacp_active on",
        ),
        (of_kind("bridge", nla(46, u32(5) + u32(7)), nla(43, b"\3")),
         "no_linklocal_learn 1 mcast_vlan_snooping 0 mst_enabled 1 mcast_igmp_version 3"),
        (of_kind("ip6tnl", nla(9, b"\4")), "proto ipip6"),
        (of_kind("erspan", nla(22, b"\2"), nla(23, b"\1"), nla(24, b"\7\0")),
         "erspan_ver 2 erspan_dir egress erspan_hwid 0x7"),
        (of_kind("bareudp", nla(1, b"\x19\xeb"), nla(2, b"\x88\x47")), "port 6635 ethertype 0x8847"),
        (of_kind("gtp", nla(3, u32(1024)), nla(4, u32(1))), "role sgsn hsize 1024"),
        (encoded("vti", vti_local="10.0.0.1", vti_remote="10.0.0.2"), "remote 10.0.0.2 local 10.0.0.1"),
        (encoded("xfrm", xfrm_link=2, xfrm_if_id=66), "link 2 if_id 0x42"),
        (encoded("macvlan", macvlan_mode="vepa"), "mode vepa"),
        (
            of_kind("macsec", nla(1, bytes(range(8))), nla(4, struct.pack("=Q", 0x0080C20001000002)), nla(3, b"\x10"),
                    nla(7, b"\1"), nla(13, b"\2"), nla(12, b"\1"), nla(5, u32(64))),
            "sci 0001020304050607 cipher_suite GCM-AES-256 icv_len 16 validation strict encrypt on "
            "replay_protect on window 64",
        ),
        (of_kind("netkit", nla(5, u32(1)), nla(2, b"\1"), nla(3, u32(0)), nla(4, u32(2))),
         "mode l3 type primary policy forward peer_policy blackhole"),
        (of_kind("hsr", nla(1, u32(2)), nla(2, u32(3))), "slave1 2 slave2 3"),
        (of_kind("netdevsim"), ""),
        (of_kind("wireguard"), ""),
        (of_kind("of-tomorrow", nla(1, b"\7")), ""),
    ],
    ids=lambda value: value.link.kind if isinstance(value, Device) else "",
)  # fmt: skip
def test_each_kind_has_its_parameters_in_words(device: Device, expected: str) -> None:
    assert words(device) == expected


def test_a_slave_and_a_port_have_their_state() -> None:
    slave = of_kind("", port_of="bond", port=(nla(1, b"\1"), nla(2, b"\2"), nla(3, u32(9))))
    assert slave.master_kind == "bond"
    assert dict(slave.port) == {"state": "BACKUP", "mii_status": "DOWN", "link_failure_count": "9"}
    port = of_kind("veth", port_of="bridge", port=(nla(1, b"\3"), nla(4, b"\1"), nla(33, b"\1")))
    assert dict(port.port) == {"state": "forwarding", "hairpin": "on", "isolated": "on"}


def test_what_is_attached_and_named_beside() -> None:
    (device,) = decoded(
        link(
            nla(3, b"eth0\0"), nla(20, b"up\x1blink\0"), nest(52, nla(53, b"the-uplink\0")), nla(6, b"fq\0"),
            nla(13, u32(1000)), nla(33, b"\1"), nla(35, u32(4)), nla(41, u32(65536)),
            nest(43, nla(2, b"\4"), nla(5, u32(41)), nla(6, u32(42))),
        )
    ).devices  # fmt: skip
    assert (device.alias, device.altnames, device.qdisc, device.queue_length) == (
        "up\\x1blink",
        ("the-uplink",),
        "fq",
        1000,
    )
    assert (device.carrier, device.carrier_changes, device.offloads) == (True, 4, (("gso_max_size", "65536"),))
    assert device.programs == ("xdp driver id 41", "xdp generic id 42")
    (plain,) = decoded(link(nla(3, b"eth0\0"), nest(43, nla(2, b"\2"), nla(4, u32(7))))).devices
    assert (plain.programs, plain.carrier) == (("xdp generic id 7",), None)


def test_ranges_of_vlans_are_all_their_vlans() -> None:
    def vlan(flags: int, vid: int) -> bytes:
        return nla(2, struct.pack("=HH", flags, vid))

    rows = decoded(link(nla(3, b"p\0"), nest(26, vlan(2 | 4, 1), vlan(8, 10), vlan(16, 12)), family=7))
    assert rows.vlans == [
        PortVlan(5, 1, untagged=True, pvid=True), PortVlan(5, 10), PortVlan(5, 11), PortVlan(5, 12),
    ]  # fmt: skip
    assert not rows.devices


def of_function(vf: int, *values: Any) -> tuple[str, dict[str, int]]:
    """An IFLA_VF_* attribute for pyroute2's encoder: its name and fields."""
    name, *fields = values
    return f"IFLA_VF_{name.upper()}", {"vf": vf, **dict(fields)}


def test_virtual_functions_are_as_ip_prints_them() -> None:
    first = [
        of_function(0, "vlan", ("vlan", 10), ("qos", 3)),
        of_function(0, "tx_rate", ("tx_rate", 0)),
        of_function(0, "spoofchk", ("spoofchk", 1)),
        of_function(0, "link_state", ("link_state", 2)),
        of_function(0, "rate", ("min_tx_rate", 100), ("max_tx_rate", 1000)),
        of_function(0, "rss_query_en", ("rss_query_en", 0xFFFF_FFFF)),
        of_function(0, "trust", ("trust", 0)),
    ]
    message = ifinfmsg()
    message["index"], message["header"]["type"] = 5, NEWLINK
    functions = {"attrs": [["IFLA_VF_INFO", {"attrs": first}]]}
    message["attrs"] = [["IFLA_IFNAME", "x0"], ["IFLA_NUM_VF", 1], ["IFLA_VFINFO_LIST", functions]]
    message.encode()
    mac = nla(1, u32(0) + bytes.fromhex("020000000007") + bytes(26))  # pyroute2 encodes no IFLA_VF_MAC
    (device,) = decoded(bytes(message.data)).devices
    assert device.functions == (
        (("vf", "0"), ("address", ""), ("vlan", "10"), ("qos", "3"), ("max_tx", "1000 Mbps"), ("min_tx", "100 Mbps"),
         ("spoofchk", "on"), ("trust", "off"), ("link_state", "disable")),
    )  # fmt: skip
    several = nest(12, *(nla(1, struct.pack("=3I", 3, vlan, 0) + b"\x88\xa8\0\0") for vlan in (20, 30)))
    second = nest(1, nla(1, u32(3) + bytes.fromhex("020000000007") + bytes(26)), several)
    (device,) = decoded(link(nla(3, b"x0\0"), nla(1, bytes(6)), nest(22, nest(1, mac), second))).devices
    assert device.functions == (
        (("vf", "0"), ("address", "02:00:00:00:00:07")),
        (("vf", "3"), ("address", "02:00:00:00:00:07"), ("vlan", "20"), ("protocol", "802.1ad"), ("vlan", "30"),
         ("protocol", "802.1ad")),
    )  # fmt: skip


def test_nexthops_and_the_weights_of_their_groups() -> None:
    def nexthop(*attributes: bytes, family: int = 0, flags: int = 0) -> bytes:
        return nlmsg(NEWNEXTHOP, struct.pack("=BBBxI", family, 253, 4, flags) + b"".join(attributes))

    group = struct.pack("=IBBH", 1, 0, 1, 0) + struct.pack("=IBBH", 2, 9, 0, 0)
    rows = decoded(
        nexthop(nla(1, u32(1)), nla(5, u32(7)), nla(6, b"\x0a\0\0\1"), family=2, flags=16),
        nexthop(nla(1, u32(3)), nla(2, group), nla(14, u32(1 << 31))),
        nexthop(nla(1, u32(4)), nla(2, group)),  # before Linux 6.11 the high byte of a weight is noise
        nexthop(nla(1, u32(5)), nla(2, group[:11]), nest(12, nla(1, struct.pack("=H", 8)), nla(2, u32(1250)))),
        nlmsg(NEWNEXTHOP, b"\0\0"),
    )
    assert rows.nexthops == [
        Nexthop(1, 7, (2, 0x0A000001), scope=253, protocol=4, flags=16),
        Nexthop(3, group=((1, 257), (2, 10)), scope=253, protocol=4),
        Nexthop(4, group=((1, 1), (2, 10)), scope=253, protocol=4),
        Nexthop(5, group=((1, 1),), scope=253, protocol=4, resilient=(
            ("buckets", "8"), ("idle_timer", "12.5"), ("unbalanced_timer", "0"), ("unbalanced_time", "0"))),
    ]  # fmt: skip
    assert len(rows.errors) == 1


def test_neighbours_and_forwarding_databases() -> None:
    def neighbour(family: int, state: int, flags: int, *attributes: bytes) -> bytes:
        return nlmsg(NEWNEIGH, struct.pack("=B3xiHBB", family, 5, state, flags, 1) + b"".join(attributes))

    mac = bytes(range(6))
    rows = decoded(
        neighbour(2, 2, 0, nla(1, b"\x0a\0\0\1"), nla(2, mac)),
        neighbour(10, 4, 0x80, nla(1, bytes(15) + b"\1")),
        neighbour(7, 0x80, 2, nla(2, mac), nla(1, b"\x0a\0\0\2"), nla(5, struct.pack("=H", 7))),
        neighbour(12, 2, 0),
    )
    assert rows.neighbours == [
        Neighbour(5, 2, 0x0A000001, mac, 2),
        Neighbour(5, 10, 1, b"", 4, 0x80),
        Neighbour(5, 7, None, mac, 0x80, 2, 7, (2, 0x0A000002)),
    ]


def test_counters_are_64_bits_of_each_device() -> None:
    head = struct.pack("=8Q", 1, 2, 1 << 40, 4, 5, 6, 7, 8)
    rest = struct.pack("=17Q", 99, 0, 11, 0, 13, *[0] * 10, 24, 25)  # multicast, collisions, length, over, crc …
    of_a_device = struct.pack("=B3xII", 0, 5, 1)
    rows = decoded(*(nlmsg(NEWSTATS, of_a_device + nla(1, head + more)) for more in (rest, rest[:45], b"")))
    reasons = (("rx_length_errors", 11), ("rx_crc_errors", 13), ("rx_nohandler", 24), ("rx_otherhost_dropped", 25))
    assert rows.counts == [(5, LinkCounts(1, 2, 1 << 40, 4, 5, 6, 7, 8, r)) for r in (reasons, reasons[:2], ())]


def rule(**fields: Any) -> bytes:
    message = fibmsg()
    for name in ("family", "src_len", "dst_len", "tos", "action", "flags", "table"):
        message[name] = fields.pop(name, 0)
    message["attrs"] = [[f"FRA_{name.upper()}", value] for name, value in fields.items()]
    message["header"]["type"] = NEWRULE
    message.encode()
    return bytes(message.data)


def test_rules_are_in_the_words_of_ip() -> None:
    rows = decoded(
        rule(family=2, action=1, table=254, priority=32766),
        rule(
            family=2, action=1, src="10.0.0.0", src_len=8, oifname="e\x1b0", fwmark=7, fwmask=255, table=0, priority=5
        ),
        rule(family=2, action=8, l3mdev=1, flags=2, priority=6),
        rule(family=128, action=1, table=254, priority=1),
        rule(family=10, dst="fd00::", dst_len=8, action=2, goto=90, priority=7, tos=16, iifname="e1", ip_proto=58),
        rule(family=2, src="1.2.3.4", src_len=32, action=1, table=9, suppress_prefixlen=0, uid_range="5:6", priority=8),
        rule(family=2, action=6, ip_proto=6, sport_range="80:80", dport_range="1:9", suppress_ifgroup=0xFFFFFFFF),
    )
    assert rows.rules == [
        PolicyRule(2, 32766, "from all", "lookup main", 254),
        PolicyRule(2, 5, "from 10.0.0.0/8 fwmark 0x7/0xff oif e\\x1b0", "lookup 0", 0),
        PolicyRule(2, 6, "not from all lookup [l3mdev-table]", "prohibit", 0),
        PolicyRule(10, 7, "from all to fd00::/8 tos 0x10 iif e1 ipproto ipv6-icmp", "goto 90"),
        PolicyRule(2, 8, "from 1.2.3.4 uidrange 5-6", "lookup 9 suppress_prefixlength 0", 9),
        PolicyRule(2, 0, "from all ipproto tcp sport 80 dport 1-9", "blackhole"),
    ]


def test_queues_have_drops_and_backlog() -> None:
    body = struct.pack("=B3xiIII", 0, 5, 0x10000, 0xFFFF_FFFF, 2)
    stats = nest(7, nla(3, struct.pack("=5I", 1, 1500, 9, 0, 0)))
    rows = decoded(nlmsg(NEWQDISC, body + nla(1, b"fq_codel\0") + stats))
    assert rows.queues == [Queue(5, "fq_codel", 0x10000, 0xFFFF_FFFF, drops=9, backlog=1500)]


def test_a_malformed_message_is_unreadable_and_the_next_one_is_read() -> None:
    rows = decoded(
        link(nla(3, b"x0\0"), nest(18, nla(1, b"vxlan\0"), nla(2, b"\1\2\3\4\5"))),
        nlmsg(NEWRULE, b"\2\0\0\0"),
        nlmsg(NEWRULE, b"\2" + bytes(11) + nla(23, b"\1")),
        nlmsg(NEWTFILTER, b"\2\0\0\0"),
        nlmsg(NEWSTATS, bytes(4)),
        link(nla(3, b"x1\0")),
    )
    assert [device.link.name for device in rows.devices] == ["x1"]
    assert len(rows.errors) == 5
    assert ERR_MALFORMED in rows.errors.code.tolist()
    assert ERR_VALUE_SHORT in rows.errors.code.tolist()


@given(
    st.sampled_from([NEWLINK, 20, 24, NEWNEIGH, NEWRULE, NEWQDISC, NEWTFILTER, NEWSTATS, NEWNEXTHOP, 84, 86]),
    st.sampled_from([b"\0", b"\2", b"\7", b"\x0a"]),
    st.binary(max_size=120) | st.lists(st.tuples(st.integers(0, 60), st.binary(max_size=40)), max_size=6),
)
def test_any_bytes_are_rows_or_errors(kind: int, family: bytes, data: Any) -> None:
    body = data if isinstance(data, bytes) else bytes(15) + b"".join(nla(one, raw) for one, raw in data)
    decode_map(batch([nlmsg(kind, family + body)]))


@given(st.sampled_from(sorted(kinds.KINDS)), st.binary(max_size=80) | ATTRIBUTES)
def test_any_parameters_of_a_kind_are_rows_or_errors(kind: str, data: bytes) -> None:
    rows = decoded(
        link(nla(3, b"x\0"), nest(18, nla(1, kind.encode() + b"\0"), nla(2, data), nla(4, b"bridge\0"), nla(5, data)))
    )
    for device in rows.devices:
        for name, value in (*device.parameters, *device.port):
            assert name.isidentifier()
            assert value.isprintable()


@given(st.integers(0, 12), ATTRIBUTES, ATTRIBUTES)
@example(6, nest(1, nla(2, b"x\x1b[2J\0")), nla(16, b"cub\x1bic\0"))
def test_any_encapsulation_and_metrics_of_a_route_are_safe_words_or_an_error(
    kind: int, encap: bytes, metrics: bytes
) -> None:
    attributes = nla(4, u32(3)) + nla(21, struct.pack("=H", kind)) + nla(22, encap) + nla(8, metrics)
    rows = decoded(nlmsg(24, struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0) + attributes))
    assert len(rows.routes) + len(rows.errors) == 1
    for route in rows.routes:
        assert all(hop.encapsulation.isprintable() for hop in route.hops)
        assert all(value.isprintable() for _, value in route.options)


def test_a_tunnel_is_on_the_device_of_its_parameters_and_never_on_itself() -> None:
    """As IFLA_LINK of one that was moved, the kernel gives its own number, and the namespace it came from."""

    def tunnel(kind: str, *data: bytes) -> Device:
        info = nest(18, nla(1, kind.encode() + b"\0") + nest(2, *data))
        (device,) = decoded(link(nla(3, b"x0\0"), nla(5, u32(5)), nla(37, u32(4)), info)).devices
        return device

    assert (tunnel("vxlan", nla(3, u32(2))).link.lower, tunnel("vxlan").link.lower) == (2, 0)
    assert (tunnel("wireguard").link.lower, tunnel("veth").link.lower, tunnel("macvlan").link.lower) == (0, 5, 5)


def test_groups_of_bridges_in_each_family_of_addresses() -> None:
    def entry(raw: bytes, ethertype: bytes, *more: bytes, vlan: int = 0, state: int = 0) -> bytes:
        head = struct.pack("=IBBH", 5, state, 0, vlan) + raw.ljust(16, b"\0") + ethertype + b"\0\0"
        return nla(1, head + b"".join(more))

    entries = (
        entry(bytes((239, 1, 1, 1)), b"\x08\0", nla(4, bytes((10, 0, 0, 9))), vlan=7, state=1),
        entry(bytes.fromhex("ff05" + "00" * 13 + "09"), b"\x86\xdd"),
        entry(bytes.fromhex("01005e010101"), b"\0\0"),
    )
    body = struct.pack("=B3xI", 7, 2) + nest(1, nest(1, *entries)) + nest(2, nla(1, u32(5)))
    for kind in (84, 86):
        assert decoded(nlmsg(kind, body)).groups == [
            PortGroup(5, 2, "239.1.1.1", 7, True, "10.0.0.9"),
            PortGroup(5, 2, "ff05::9"),
            PortGroup(5, 2, "01:00:5e:01:01:01"),
        ]
    cut = struct.pack("=B3xI", 7, 2) + nest(1, nest(1, nla(1, bytes(9))))
    assert decoded(nlmsg(84, cut)).errors.code.tolist() == [ERR_VALUE_SHORT]
