"""The parameters of each kind of device, named as in `ip -d -j link` (linux/if_link.h, if_tun.h, if_macsec.h …)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from nettop.decode.topology.master_kinds import BOND, BOND_SLAVE, BRIDGE, BRIDGE_PORT
from nettop.decode.topology.objects import Parameters
from nettop.decode.topology.parameter_values import (
    Field,
    address,
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
    "bridge": BRIDGE,
    "bond": BOND,
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
PORTS: Mapping[str, tuple[Field, ...]] = {"bridge": BRIDGE_PORT, "bond": BOND_SLAVE, "vrf": ((1, "table", number),)}


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
