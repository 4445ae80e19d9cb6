"""The virtual functions (SR-IOV) of a device, named as in `ip -d -j link` (IFLA_VFINFO_LIST, linux/if_link.h)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from nettop.decode.topology.objects import Parameters
from nettop.linux import rtnetlink as rtnl
from nettop.linux.netlink import Attributes, attributes

_UNSET = 0xFFFF_FFFF  # of a switch that the driver does not know
_LINK_STATES = ("auto", "enable", "disable")  # IFLA_VF_LINK_STATE_*
_SWITCHES = (
    ("spoofchk", rtnl.IFLA_VF_SPOOFCHK),
    ("trust", rtnl.IFLA_VF_TRUST),
    ("query_rss", rtnl.IFLA_VF_RSS_QUERY_EN),
)
_8021AD = 0x88A8  # the other one is 802.1Q, which ip does not print


def virtual_functions(found: Attributes) -> tuple[Parameters, ...]:
    """Return the virtual functions of an RTM_NEWLINK. MalformedError: they are none."""
    if rtnl.IFLA_VFINFO_LIST not in found:
        return ()
    return _read(found.raw(rtnl.IFLA_VFINFO_LIST), len(found.raw(rtnl.IFLA_ADDRESS)) or 6)


@lru_cache(64)
def _read(raw: bytes, mac_size: int) -> tuple[Parameters, ...]:
    spans = [span for kind, *span in attributes(raw, 0, len(raw)) if kind == rtnl.IFLA_VF_INFO]
    return tuple(tuple(_function(Attributes(raw, *span), mac_size)) for span in spans)


def _function(found: Attributes, mac_size: int) -> Iterator[tuple[str, str]]:
    """Yield the settings; each attribute begins with the number of the function."""
    mac = found.raw(rtnl.IFLA_VF_MAC)
    yield "vf", str(int.from_bytes(mac[:4], rtnl.HOST_ORDER))
    yield "address", mac[4 : 4 + mac_size].hex(":")
    yield from _vlans(found)
    rates = (("tx_rate", rtnl.IFLA_VF_TX_RATE, 0), ("max_tx", rtnl.IFLA_VF_RATE, 1), ("min_tx", rtnl.IFLA_VF_RATE, 0))
    yield from ((name, f"{rate} Mbps") for name, kind, at in rates if (rate := _value(found.raw(kind), at)))
    for name, kind in _SWITCHES:
        if kind in found and (value := _value(found.raw(kind))) != _UNSET:
            yield name, "on" if value else "off"
    if rtnl.IFLA_VF_LINK_STATE in found:
        state = _value(found.raw(rtnl.IFLA_VF_LINK_STATE))
        yield "link_state", _LINK_STATES[state] if state < len(_LINK_STATES) else str(state)


def _vlans(found: Attributes) -> Iterator[tuple[str, str]]:
    """Yield the VLAN; of drivers that have several, each of them."""
    listed = found.span(rtnl.IFLA_VF_VLAN_LIST)
    infos = [bytes(found.buf[first:last]) for _, first, last in attributes(found.buf, *listed)]
    for raw in infos or [found.raw(rtnl.IFLA_VF_VLAN)]:
        vlan, qos, protocol = _value(raw), _value(raw, 1), int.from_bytes(raw[12:14], "big")
        yield from (("vlan", str(vlan)),) if vlan else ()
        yield from (("qos", str(qos)),) if qos else ()
        yield from (("protocol", "802.1ad"),) if protocol == _8021AD else ()


def _value(raw: bytes, at: int = 0) -> int:
    """Return the number at a position after that of the function; 0 if it is absent."""
    return int.from_bytes(raw[4 + 4 * at : 8 + 4 * at], rtnl.HOST_ORDER)
