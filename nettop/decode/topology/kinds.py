"""The parameters of each kind of device and port, as `ip -d -j link` names them (linux/if_link.h, if_tun.h …)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from nettop.decode.topology.objects import Parameters
from nettop.decode.topology.parameter_values import (
    Field,
    address,
    addresses,
    bridge_id,
    ethertype,
    flags,
    group,
    hexadecimal,
    label,
    mac,
    macs,
    named,
    network,
    number,
    option,
    ports,
    present,
    priorities,
    remote,
    switch,
    ttl,
    unless_zero,
    words,
)
from nettop.linux.netlink import Attributes

DEVICES = frozenset(("link", "active_slave", "primary", "backup_port", "slave1", "slave2"))  # values: ifindexes
_MAX_DATA = 16 << 10  # bytes: the kernel's are shorter

_MACVLAN: tuple[Field, ...] = (
    (1, "mode", named({1: "private", 2: "vepa", 4: "bridge", 8: "passthru", 16: "source"})),
    (2, "flags", flags({1: "nopromisc", 2: "nodst"})),
    (6, "macaddr_count", unless_zero(number)),
    (5, "macaddr_data", macs),
    (7, "bcqueuelen", number),
    (8, "usedbcqueuelen", number),
)
_IPVLAN: tuple[Field, ...] = (
    (1, "mode", words("l2", "l3", "l3s")),
    (2, "flag", flags({1: "private", 2: "vepa"}, none="bridge")),
)
_UDP_TUNNEL = words("unset", "set", "inherit")  # df
_VXLAN: tuple[Field, ...] = (
    (1, "id", number),
    (2, "group", group),
    (2, "remote", remote),
    (16, "group6", group),
    (16, "remote6", remote),
    (4, "local", address),
    (17, "local6", address),
    (3, "link", number),
    (10, "port_range", ports),
    (15, "port", network),
    (7, "learning", switch),
    (11, "proxy", unless_zero(switch)),
    (12, "rsc", unless_zero(switch)),
    (13, "l2miss", unless_zero(switch)),
    (14, "l3miss", unless_zero(switch)),
    (6, "tos", unless_zero(hexadecimal)),
    (5, "ttl", number),
    (29, "df", _UDP_TUNNEL),
    (26, "label", unless_zero(label)),
    (8, "ageing", number),
    (9, "limit", unless_zero(number)),
    (18, "udp_csum", switch),
    (19, "udp_zero_csum6_tx", switch),
    (20, "udp_zero_csum6_rx", switch),
    (23, "gbp", present),
    (27, "gpe", present),
    (25, "external", unless_zero(switch)),
    (30, "vnifilter", unless_zero(switch)),
    (31, "localbypass", switch),
    (21, "remcsum_tx", unless_zero(switch)),
    (22, "remcsum_rx", unless_zero(switch)),
)
_GENEVE: tuple[Field, ...] = (
    (1, "id", number),
    (2, "remote", address),
    (7, "remote6", address),
    (3, "ttl", number),
    (4, "tos", hexadecimal),
    (13, "df", _UDP_TUNNEL),
    (5, "port", network),
    (11, "label", label),
    (6, "external", present),
    (8, "udp_csum", switch),
    (9, "udp_zero_csum6_tx", switch),
    (10, "udp_zero_csum6_rx", switch),
)
_TUN: tuple[Field, ...] = (
    (3, "type", named({1: "tun", 2: "tap"})),
    (4, "pi", switch),
    (5, "vnet_hdr", switch),
    (7, "multi_queue", switch),
    (8, "numqueues", number),
    (9, "numdisabled", number),
    (6, "persist", switch),
    (1, "user", number),
    (2, "group", number),
)
_PROTO, _PROTO6 = {0: "any", 4: "ipip", 41: "ip6ip", 137: "mplsip"}, {0: "any", 4: "ipip6", 41: "ip6ip6"}
_IP_TUNNEL: tuple[Field, ...] = (  # ipip, sit, ip6tnl
    (9, "proto", named(_PROTO)),
    (3, "remote", address),
    (2, "local", address),
    (1, "link", number),
    (4, "ttl", ttl),
    (5, "tos", number),
    (10, "pmtudisc", switch),
    (6, "encap_limit", number),
    (19, "external", present),
    (20, "fwmark", hexadecimal),
)
_IP6_TUNNEL: tuple[Field, ...] = (*_IP_TUNNEL[1:], (9, "proto", named(_PROTO6)))
_GRE: tuple[Field, ...] = (
    (7, "remote", address),
    (6, "local", address),
    (1, "link", number),
    (8, "ttl", ttl),
    (9, "tos", number),
    (10, "pmtudisc", switch),
    (4, "ikey", address),
    (5, "okey", address),
    (18, "external", present),
    (20, "fwmark", hexadecimal),
)
_ERSPAN: tuple[Field, ...] = (
    *_GRE,
    (22, "erspan_ver", number),
    (21, "erspan_index", unless_zero(number)),
    (23, "erspan_dir", words("ingress", "egress")),
    (24, "erspan_hwid", unless_zero(hexadecimal)),
)
_VTI: tuple[Field, ...] = (
    (5, "remote", address),
    (4, "local", address),
    (1, "link", number),
    (2, "ikey", address),
    (3, "okey", address),
    (6, "fwmark", hexadecimal),
)
_BRIDGE: tuple[Field, ...] = (
    (1, "forward_delay", number),  # these times are in hundredths of a second
    (2, "hello_time", number),
    (3, "max_age", number),
    (4, "ageing_time", number),
    (5, "stp_state", number),
    (6, "priority", number),
    (7, "vlan_filtering", number),
    (8, "vlan_protocol", ethertype),
    (11, "bridge_id", bridge_id),
    (10, "root_id", bridge_id),
    (12, "root_port", number),
    (13, "root_path_cost", number),
    (14, "topology_change", number),
    (39, "vlan_default_pvid", number),
    (9, "group_fwd_mask", hexadecimal),
    (20, "group_addr", mac),
    (46, "no_linklocal_learn", option(0)),
    (46, "mcast_vlan_snooping", option(1)),
    (46, "mst_enabled", option(2)),
    (41, "vlan_stats_enabled", number),
    (45, "vlan_stats_per_port", number),
    (23, "mcast_snooping", number),
    (25, "mcast_querier", number),
    (22, "mcast_router", number),
    (24, "mcast_query_use_ifaddr", number),
    (26, "mcast_hash_elasticity", number),
    (27, "mcast_hash_max", number),
    (28, "mcast_last_member_cnt", number),
    (29, "mcast_startup_query_cnt", number),
    (30, "mcast_last_member_intvl", number),
    (31, "mcast_membership_intvl", number),
    (32, "mcast_querier_intvl", number),
    (33, "mcast_query_intvl", number),
    (34, "mcast_query_response_intvl", number),
    (35, "mcast_startup_query_intvl", number),
    (42, "mcast_stats_enabled", number),
    (43, "mcast_igmp_version", number),
    (44, "mcast_mld_version", number),
    (36, "nf_call_iptables", number),
    (37, "nf_call_ip6tables", number),
    (38, "nf_call_arptables", number),
    (49, "fdb_max_learned", unless_zero(number)),
)
_BRIDGE_PORT: tuple[Field, ...] = (
    (1, "state", words("disabled", "listening", "learning", "forwarding", "blocking")),
    (2, "priority", number),
    (3, "cost", number),
    (4, "hairpin", switch),
    (5, "guard", switch),
    (6, "root_block", switch),
    (7, "fastleave", switch),
    (8, "learning", switch),
    (9, "flood", switch),
    (17, "id", hexadecimal),
    (18, "no", hexadecimal),
    (10, "proxy_arp", switch),
    (12, "proxy_arp_wifi", switch),
    (13, "root_id", bridge_id),
    (14, "bridge_id", bridge_id),
    (25, "multicast_router", number),
    (27, "mcast_flood", switch),
    (30, "bcast_flood", switch),
    (28, "mcast_to_unicast", switch),
    (32, "neigh_suppress", switch),
    (43, "neigh_vlan_suppress", unless_zero(switch)),
    (29, "vlan_tunnel", switch),
    (33, "isolated", switch),
    (39, "locked", switch),
    (40, "mab", switch),
    (15, "designated_port", number),
    (16, "designated_cost", number),
    (31, "group_fwd_mask", hexadecimal),
    (34, "backup_port", number),
)
_BOND: tuple[Field, ...] = (
    (
        1,
        "mode",
        words("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"),
    ),
    (2, "active_slave", number),
    (3, "miimon", number),
    (4, "updelay", number),
    (5, "downdelay", number),
    (28, "peer_notify_delay", number),
    (6, "use_carrier", number),
    (7, "arp_interval", number),
    (8, "arp_ip_target", addresses),
    (31, "ns_ip6_target", addresses),
    (30, "arp_missed_max", number),
    (9, "arp_validate", words("none", "active", "backup", "all", "filter", "filter_active", "filter_backup")),
    (10, "arp_all_targets", words("any", "all")),
    (11, "primary", number),
    (12, "primary_reselect", words("always", "better", "failure")),
    (13, "fail_over_mac", words("none", "active", "follow")),
    (14, "xmit_hash_policy", words("layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac")),
    (15, "resend_igmp", number),
    (16, "num_peer_notif", number),
    (17, "all_slaves_active", number),
    (18, "min_links", number),
    (19, "lp_interval", number),
    (20, "packets_per_slave", number),
    (29, "ad_lacp_active", words("off", "on")),
    (21, "ad_lacp_rate", words("slow", "fast")),
    (22, "ad_select", words("stable", "bandwidth", "count")),
    (27, "tlb_dynamic_lb", number),
)
_BOND_SLAVE: tuple[Field, ...] = (
    (1, "state", words("ACTIVE", "BACKUP")),
    (2, "mii_status", words("UP", "GOING_DOWN", "DOWN", "GOING_BACK")),
    (3, "link_failure_count", number),
    (4, "perm_hwaddr", mac),
    (5, "queue_id", number),
    (6, "ad_aggregator_id", number),
)
_MACSEC_SUITES = {
    0x0080020001000001: "GCM-AES-128",
    0x0080C20001000001: "GCM-AES-128",
    0x0080C20001000002: "GCM-AES-256",
    0x0080C20001000003: "GCM-AES-XPN-128",
    0x0080C20001000004: "GCM-AES-XPN-256",
}
_NETKIT_POLICY = named({0: "forward", 2: "blackhole"})
KINDS: Mapping[str, tuple[Field, ...]] = {
    "macvlan": _MACVLAN,
    "macvtap": _MACVLAN,
    "ipvlan": _IPVLAN,
    "ipvtap": _IPVLAN,
    "vlan": (
        (5, "protocol", ethertype),
        (1, "id", number),
        (2, "flags", flags({1: "REORDER_HDR", 2: "GVRP", 4: "LOOSE_BINDING", 8: "MVRP", 16: "BRIDGE_BINDING"})),
        (4, "ingress_qos", priorities),
        (3, "egress_qos", priorities),
    ),
    "vxlan": _VXLAN,
    "geneve": _GENEVE,
    "bridge": _BRIDGE,
    "bond": _BOND,
    "tun": _TUN,
    "ipip": _IP_TUNNEL,
    "sit": _IP_TUNNEL,
    "ip6tnl": _IP6_TUNNEL,
    "gre": _GRE,
    "gretap": _GRE,
    "erspan": _ERSPAN,
    "ip6erspan": _ERSPAN,
    "ip6gre": _GRE,
    "ip6gretap": _GRE,
    "vti": _VTI,
    "vti6": _VTI,
    "vrf": ((1, "table", number),),
    "xfrm": ((1, "link", number), (2, "if_id", hexadecimal)),
    "macsec": (
        (1, "sci", lambda raw: raw.hex()),
        (8, "protect", switch),
        (4, "cipher_suite", lambda raw: _MACSEC_SUITES.get(int(number(raw)), hexadecimal(raw))),
        (3, "icv_len", number),
        (6, "encoding_sa", number),
        (13, "validation", words("disabled", "check", "strict")),
        (7, "encrypt", switch),
        (9, "inc_sci", switch),
        (10, "es", switch),
        (11, "scb", switch),
        (12, "replay_protect", switch),
        (5, "window", number),
        (15, "offload", words("off", "phy", "mac")),
    ),
    "netkit": (
        (5, "mode", words("l2", "l3")),
        (2, "type", lambda raw: "primary" if any(raw) else "peer"),
        (3, "policy", _NETKIT_POLICY),
        (4, "peer_policy", _NETKIT_POLICY),
    ),
    "ipoib": ((1, "pkey", hexadecimal), (2, "mode", words("datagram", "connected")), (3, "umcast", hexadecimal)),
    "can": ((4, "state", words("ERROR-ACTIVE", "ERROR-WARNING", "ERROR-PASSIVE", "BUS-OFF", "STOPPED", "SLEEPING")),),
    "bareudp": (
        (1, "port", network),
        (2, "ethertype", lambda raw: f"{int(network(raw)):#x}"),
        (3, "srcportmin", number),
        (4, "multiproto", present),
    ),
    "gtp": ((4, "role", words("ggsn", "sgsn")), (3, "hsize", number)),
    "hsr": ((1, "slave1", number), (2, "slave2", number), (4, "supervision_addr", mac)),
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
