"""The parameters of each kind of device, named as in `ip -d -j link` (linux/if_link.h, if_tun.h, if_macsec.h …)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from nettop.decode.topology.objects import Parameters
from nettop.linux.netlink import Attributes

DEVICES = frozenset(("link", "active_slave", "primary", "backup_port"))  # their values are ifindexes
_MAX_DATA = 16 << 10  # bytes: the kernel's are shorter

Read = Callable[[bytes], str]
Field = tuple[int, str, Read]  # the attribute's type, the name, and its value


def number(raw: bytes) -> str:
    """Return a number in host order, of any size."""
    return str(int.from_bytes(raw[:8], sys.byteorder))


def _network(raw: bytes) -> str:
    return str(int.from_bytes(raw[:8], "big"))


def _hex(raw: bytes) -> str:
    value = int.from_bytes(raw[:8], sys.byteorder)
    return f"{value:#x}" if value else "0"  # as printf("%#x")


def _switch(raw: bytes) -> str:
    return "on" if any(raw) else "off"


def _present(raw: bytes) -> str:
    return "on"


def _unless_zero(read: Read) -> Read:
    """Return the reader of a parameter that ip(8) prints only where it is set."""
    return lambda raw: read(raw) if any(raw) else ""


def _address(raw: bytes) -> str:
    return {4: IPv4Address, 16: IPv6Address}[len(raw)](raw).compressed if len(raw) in (4, 16) else ""


def _is_multicast(raw: bytes) -> bool:
    return raw[0] >> 4 == 0xE if len(raw) == 4 else raw[:1] == b"\xff"


def _group(raw: bytes) -> str:
    return _address(raw) if any(raw) and _is_multicast(raw) else ""


def _remote(raw: bytes) -> str:
    return _address(raw) if any(raw) and not _is_multicast(raw) else ""


def _mac(raw: bytes) -> str:
    return raw[:32].hex(":")


def _bridge_id(raw: bytes) -> str:
    return f"{raw[:2].hex()}.{_mac(raw[2:8])}"


def _ports(raw: bytes) -> str:
    return f"{int.from_bytes(raw[:2], 'big')}-{int.from_bytes(raw[2:4], 'big')}"


def _ethertype(raw: bytes) -> str:
    return {0x8100: "802.1Q", 0x88A8: "802.1ad"}.get(int.from_bytes(raw[:2], "big"), f"0x{raw[:2].hex()}")


def _words(*words: str) -> Read:
    """Return the reader of an enumeration from 0 on."""
    return _named(dict(enumerate(words)))


def _named(words: Mapping[int, str]) -> Read:
    return lambda raw: words.get(int.from_bytes(raw[:8], sys.byteorder), number(raw))


def _flags(words: Mapping[int, str], none: str = "") -> Read:
    """Return the reader of a set of bits, in the first 32 bits."""

    def read(raw: bytes) -> str:
        value = int.from_bytes(raw[:4], sys.byteorder)
        return " ".join(word for bit, word in words.items() if value & bit) or none

    return read


def _ttl(raw: bytes) -> str:
    return "inherit" if not any(raw) else number(raw)


_MACVLAN: tuple[Field, ...] = (
    (1, "mode", _named({1: "private", 2: "vepa", 4: "bridge", 8: "passthru", 16: "source"})),
    (2, "flags", _flags({1: "nopromisc", 2: "nodst"})),
    (6, "macaddr_count", _unless_zero(number)),
    (7, "bcqueuelen", number),
    (8, "usedbcqueuelen", number),
)
_IPVLAN: tuple[Field, ...] = (
    (1, "mode", _words("l2", "l3", "l3s")),
    (2, "flag", _flags({1: "private", 2: "vepa"}, none="bridge")),
)
_UDP_TUNNEL = _words("unset", "set", "inherit")  # df
_VXLAN: tuple[Field, ...] = (
    (1, "id", number),
    (2, "group", _group),
    (2, "remote", _remote),
    (16, "group6", _group),
    (16, "remote6", _remote),
    (4, "local", _address),
    (17, "local6", _address),
    (3, "link", number),
    (10, "port_range", _ports),
    (15, "port", _network),
    (7, "learning", _switch),
    (11, "proxy", _unless_zero(_switch)),
    (12, "rsc", _unless_zero(_switch)),
    (13, "l2miss", _unless_zero(_switch)),
    (14, "l3miss", _unless_zero(_switch)),
    (6, "tos", _unless_zero(number)),
    (5, "ttl", number),
    (29, "df", _UDP_TUNNEL),
    (26, "label", _unless_zero(_network)),
    (8, "ageing", number),
    (9, "limit", _unless_zero(number)),
    (18, "udp_csum", _switch),
    (19, "udp_zero_csum6_tx", _switch),
    (20, "udp_zero_csum6_rx", _switch),
    (23, "gbp", _present),
    (27, "gpe", _present),
    (25, "external", _unless_zero(_switch)),
    (31, "localbypass", _switch),
    (21, "remcsum_tx", _unless_zero(_switch)),
    (22, "remcsum_rx", _unless_zero(_switch)),
)
_GENEVE: tuple[Field, ...] = (
    (1, "id", number),
    (2, "remote", _address),
    (7, "remote6", _address),
    (3, "ttl", number),
    (4, "tos", number),
    (13, "df", _UDP_TUNNEL),
    (5, "port", _network),
    (11, "label", _network),
    (6, "external", _present),
    (8, "udp_csum", _switch),
    (9, "udp_zero_csum6_tx", _switch),
    (10, "udp_zero_csum6_rx", _switch),
)
_BRIDGE: tuple[Field, ...] = (
    (1, "forward_delay", number),  # these times are in hundredths of a second
    (2, "hello_time", number),
    (3, "max_age", number),
    (4, "ageing_time", number),
    (5, "stp_state", number),
    (6, "priority", number),
    (7, "vlan_filtering", number),
    (8, "vlan_protocol", _ethertype),
    (11, "bridge_id", _bridge_id),
    (10, "root_id", _bridge_id),
    (12, "root_port", number),
    (13, "root_path_cost", number),
    (14, "topology_change", number),
    (39, "vlan_default_pvid", number),
    (9, "group_fwd_mask", _hex),
    (20, "group_addr", _mac),
    (23, "mcast_snooping", number),
    (25, "mcast_querier", number),
    (22, "mcast_router", number),
    (36, "nf_call_iptables", number),
    (37, "nf_call_ip6tables", number),
    (38, "nf_call_arptables", number),
    (49, "fdb_max_learned", _unless_zero(number)),
)
_BRIDGE_PORT: tuple[Field, ...] = (
    (1, "state", _words("disabled", "listening", "learning", "forwarding", "blocking")),
    (2, "priority", number),
    (3, "cost", number),
    (4, "hairpin", _switch),
    (5, "guard", _switch),
    (6, "root_block", _switch),
    (7, "fastleave", _switch),
    (8, "learning", _switch),
    (9, "flood", _switch),
    (17, "id", _hex),
    (18, "no", _hex),
    (10, "proxy_arp", _switch),
    (12, "proxy_arp_wifi", _switch),
    (13, "root_id", _bridge_id),
    (14, "bridge_id", _bridge_id),
    (25, "multicast_router", number),
    (27, "mcast_flood", _switch),
    (30, "bcast_flood", _switch),
    (28, "mcast_to_unicast", _switch),
    (32, "neigh_suppress", _switch),
    (43, "neigh_vlan_suppress", _unless_zero(_switch)),
    (29, "vlan_tunnel", _switch),
    (33, "isolated", _switch),
    (39, "locked", _switch),
    (40, "mab", _switch),
    (15, "designated_port", number),
    (16, "designated_cost", number),
    (31, "group_fwd_mask", _hex),
    (34, "backup_port", number),
)
_BOND: tuple[Field, ...] = (
    (
        1,
        "mode",
        _words("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"),
    ),
    (2, "active_slave", number),
    (3, "miimon", number),
    (4, "updelay", number),
    (5, "downdelay", number),
    (28, "peer_notify_delay", number),
    (6, "use_carrier", number),
    (7, "arp_interval", number),
    (9, "arp_validate", _words("none", "active", "backup", "all", "filter", "filter_active", "filter_backup")),
    (10, "arp_all_targets", _words("any", "all")),
    (11, "primary", number),
    (12, "primary_reselect", _words("always", "better", "failure")),
    (13, "fail_over_mac", _words("none", "active", "follow")),
    (14, "xmit_hash_policy", _words("layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac")),
    (15, "resend_igmp", number),
    (16, "num_peer_notif", number),
    (17, "all_slaves_active", number),
    (18, "min_links", number),
    (19, "lp_interval", number),
    (20, "packets_per_slave", number),
    (21, "ad_lacp_rate", _words("slow", "fast")),
    (22, "ad_select", _words("stable", "bandwidth", "count")),
    (27, "tlb_dynamic_lb", number),
)
_BOND_SLAVE: tuple[Field, ...] = (
    (1, "state", _words("ACTIVE", "BACKUP")),
    (2, "mii_status", _words("UP", "GOING_DOWN", "DOWN", "GOING_BACK")),
    (3, "link_failure_count", number),
    (4, "perm_hwaddr", _mac),
    (5, "queue_id", number),
    (6, "ad_aggregator_id", number),
)
_TUN: tuple[Field, ...] = (
    (3, "type", _named({1: "tun", 2: "tap"})),
    (4, "pi", _switch),
    (5, "vnet_hdr", _switch),
    (7, "multi_queue", _switch),
    (8, "numqueues", number),
    (9, "numdisabled", number),
    (6, "persist", _switch),
    (1, "user", number),
    (2, "group", number),
)
_IP_TUNNEL: tuple[Field, ...] = (  # ipip, sit, ip6tnl
    (9, "proto", _named({0: "any", 4: "ipip", 41: "ip6ip", 137: "mplsip"})),
    (3, "remote", _address),
    (2, "local", _address),
    (1, "link", number),
    (4, "ttl", _ttl),
    (5, "tos", number),
    (10, "pmtudisc", _switch),
    (6, "encap_limit", number),
    (19, "external", _present),
    (20, "fwmark", _hex),
)
_GRE: tuple[Field, ...] = (
    (7, "remote", _address),
    (6, "local", _address),
    (1, "link", number),
    (8, "ttl", _ttl),
    (9, "tos", number),
    (10, "pmtudisc", _switch),
    (4, "ikey", _address),
    (5, "okey", _address),
    (18, "external", _present),
    (20, "fwmark", _hex),
)
_VTI: tuple[Field, ...] = (
    (5, "remote", _address),
    (4, "local", _address),
    (1, "link", number),
    (2, "ikey", _address),
    (3, "okey", _address),
    (6, "fwmark", _hex),
)
_MACSEC_SUITES = {
    0x0080020001000001: "GCM-AES-128",
    0x0080C20001000001: "GCM-AES-128",
    0x0080C20001000002: "GCM-AES-256",
    0x0080C20001000003: "GCM-AES-XPN-128",
    0x0080C20001000004: "GCM-AES-XPN-256",
}
_NETKIT_POLICY = _named({0: "forward", 2: "blackhole"})
KINDS: Mapping[str, tuple[Field, ...]] = {
    "macvlan": _MACVLAN,
    "macvtap": _MACVLAN,
    "ipvlan": _IPVLAN,
    "ipvtap": _IPVLAN,
    "vlan": (
        (5, "protocol", _ethertype),
        (1, "id", number),
        (2, "flags", _flags({1: "REORDER_HDR", 2: "GVRP", 4: "LOOSE_BINDING", 8: "MVRP", 16: "BRIDGE_BINDING"})),
    ),
    "vxlan": _VXLAN,
    "geneve": _GENEVE,
    "bridge": _BRIDGE,
    "bond": _BOND,
    "tun": _TUN,
    "ipip": _IP_TUNNEL,
    "sit": _IP_TUNNEL,
    "ip6tnl": _IP_TUNNEL,
    "gre": _GRE,
    "gretap": _GRE,
    "erspan": _GRE,
    "ip6gre": _GRE,
    "ip6gretap": _GRE,
    "vti": _VTI,
    "vti6": _VTI,
    "vrf": ((1, "table", number),),
    "xfrm": ((1, "link", number), (2, "if_id", _hex)),
    "macsec": (
        (1, "sci", lambda raw: raw.hex()),
        (8, "protect", _switch),
        (4, "cipher_suite", lambda raw: _MACSEC_SUITES.get(int(number(raw)), _hex(raw))),
        (3, "icv_len", number),
        (6, "encoding_sa", number),
        (13, "validation", _words("disabled", "check", "strict")),
        (7, "encrypt", _switch),
        (9, "inc_sci", _switch),
        (10, "es", _switch),
        (11, "scb", _switch),
        (12, "replay_protect", _switch),
        (5, "window", number),
        (15, "offload", _words("off", "phy", "mac")),
    ),
    "netkit": (
        (5, "mode", _words("l2", "l3")),
        (2, "type", lambda raw: "primary" if any(raw) else "peer"),
        (3, "policy", _NETKIT_POLICY),
        (4, "peer_policy", _NETKIT_POLICY),
    ),
    "ipoib": ((1, "pkey", _hex), (2, "mode", _words("datagram", "connected")), (3, "umcast", _hex)),
    "can": ((4, "state", _words("ERROR-ACTIVE", "ERROR-WARNING", "ERROR-PASSIVE", "BUS-OFF", "STOPPED", "SLEEPING")),),
    "hsr": ((1, "slave1", number), (2, "slave2", number), (4, "supervision_addr", _mac)),
}
PORTS: Mapping[str, tuple[Field, ...]] = {"bridge": _BRIDGE_PORT, "bond": _BOND_SLAVE, "vrf": ((1, "table", number),)}


def parameters(kind: str, data: bytes) -> Parameters:
    """Return the parameters in IFLA_INFO_DATA of a device of this kind. MalformedError: they are none."""
    return _read(KINDS.get(kind, ()), data[:_MAX_DATA])


def port_parameters(master_kind: str, data: bytes) -> Parameters:
    """Return the parameters in IFLA_INFO_SLAVE_DATA of a port of a master of this kind. MalformedError: see above."""
    return _read(PORTS.get(master_kind, ()), data[:_MAX_DATA])


@lru_cache(4096)
def _read(fields: tuple[Field, ...], data: bytes) -> Parameters:
    if not fields or not data:
        return ()
    found = Attributes(data, 0, len(data))
    values = ((name, read(found.raw(kind))) for kind, name, read in fields if kind in found)
    return tuple((name, value) for name, value in values if value)
