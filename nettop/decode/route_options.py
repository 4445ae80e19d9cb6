"""The parts that few routes have, as ip-route(8) prints them: encapsulations, metrics, realms and preference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import IPv4Address, IPv6Address

from nettop.linux import rtnetlink as rtnl
from nettop.linux.netlink import Attributes, attributes
from nettop.text.sanitize import clean_bytes

_MAX = 4096  # bytes of an encapsulation: the kernel's are shorter
_SEG6_MODES = ("inline", "encap", "l2encap", "encap.red", "l2encap.red")
_SEG6_ACTIONS = {
    1: "End", 2: "End.X", 3: "End.T", 4: "End.DX2", 5: "End.DX6", 6: "End.DX4", 7: "End.DT6", 8: "End.DT4",
    9: "End.B6", 10: "End.B6.Encaps", 11: "End.BM", 12: "End.S", 13: "End.AS", 14: "End.AM", 15: "End.BPF",
    16: "End.DT46",
}  # fmt: skip
_SRH = 8  # bytes of struct ipv6_sr_hdr before its segments
_METRICS = {  # RTAX_*: name, and the value's unit
    2: ("mtu", 1, ""), 3: ("window", 1, ""), 4: ("rtt", 8, "ms"), 5: ("rttvar", 4, "ms"), 6: ("ssthresh", 1, ""),
    7: ("cwnd", 1, ""), 8: ("advmss", 1, ""), 9: ("reordering", 1, ""), 10: ("hoplimit", 1, ""),
    11: ("initcwnd", 1, ""), 12: ("features", 1, ""), 13: ("rto_min", 1, "ms"), 14: ("initrwnd", 1, ""),
    15: ("quickack", 1, ""), 17: ("fastopen_no_cookie", 1, ""),
}  # fmt: skip
_PREFERENCES = {0: "medium", 1: "high", 3: "low"}  # of RFC 4191; medium is that of nearly all routes


def route_options(found: Attributes) -> tuple[tuple[str, str], ...]:
    """Return metrics, realms and preference by name. MalformedError: they are none."""
    if rtnl.RTA_METRICS in found or rtnl.RTA_FLOW in found or found.number(rtnl.RTA_PREF):  # in few of many thousands
        return tuple(_options(found))
    return ()


def _options(found: Attributes) -> Iterator[tuple[str, str]]:
    if realms := found.host(rtnl.RTA_FLOW):
        yield "realms", realms_text(realms)
    metrics = found.nested(rtnl.RTA_METRICS)
    locked = metrics.host(rtnl.RTAX_LOCK) or 0
    for kind, (name, divisor, unit) in _METRICS.items():
        if value := metrics.host(kind):
            lock = "lock " if locked >> kind & 1 else ""
            yield name, lock + ("ecn" if name == "features" and value == 1 else f"{value / divisor:.15g}{unit}")
    if algorithm := _name(metrics.raw(rtnl.RTAX_CC_ALGO)):
        yield "congctl", algorithm
    preference = found.number(rtnl.RTA_PREF)
    if preference:
        yield "pref", _PREFERENCES.get(preference, str(preference))


def realms_text(realms: int) -> str:
    """Return `3/4` (of the source and of the destination), or the latter alone."""
    source, destination = realms >> 16, realms & 0xFFFF
    return f"{source}/{destination}" if source else str(destination)


def encapsulation(found: Attributes, of: int = rtnl.RTA_ENCAP, kind: int = rtnl.RTA_ENCAP_TYPE) -> str:
    """Return the lightweight tunnel of a next hop (linux/lwtunnel.h): `mpls 100/200`; "": it has none."""
    if kind not in found:
        return ""
    number = int.from_bytes(found.raw(kind)[:2], rtnl.HOST_ORDER)
    name, words = _KINDS.get(number, (str(number), _none))
    data = found.raw(of)[:_MAX]
    return " ".join((name, *words(Attributes(data, 0, len(data)))))


def _none(_: Attributes) -> Iterator[str]:
    return iter(())


def _name(raw: bytes) -> str:
    return clean_bytes(raw.split(b"\0", 1)[0])


def _number(raw: bytes) -> int:
    return int.from_bytes(raw[:8], rtnl.HOST_ORDER)


def _address(raw: bytes) -> str:
    return str({4: IPv4Address, 16: IPv6Address}[len(raw)](raw)) if len(raw) in (4, 16) else raw.hex()


def _mpls(found: Attributes) -> Iterator[str]:
    stack = found.raw(1)
    yield "/".join(str(int.from_bytes(stack[at : at + 4], "big") >> 12) for at in range(0, len(stack), 4))
    if ttl := found.raw(2):
        yield f"ttl {_number(ttl)}"


def _ip(found: Attributes, names: tuple[str, ...] = ("id", "dst", "src", "ttl", "tos")) -> Iterator[str]:
    """Yield the parameters that are set, in the order of linux/lwtunnel.h."""
    for kind, name in enumerate(names, 1):
        raw = found.raw(kind)
        if any(raw):
            yield f"{name} {_address(raw) if kind in (2, 3) else int.from_bytes(raw, 'big')}"


def _seg6(found: Attributes) -> Iterator[str]:
    raw = found.raw(1)  # struct seg6_iptunnel_encap
    mode = _number(raw[:4])
    yield f"mode {_SEG6_MODES[mode] if mode < len(_SEG6_MODES) else mode} segs {_segments(raw[4:])}"


def _segments(header: bytes) -> str:
    """Return the segments in the order of the way; they stand the other way round."""
    listed = header[_SRH : _SRH + header[1] * 8] if len(header) > _SRH else b""
    return ",".join(_address(listed[at : at + 16]) for at in range(len(listed) // 16 * 16 - 16, -1, -16))


def _seg6local(found: Attributes) -> Iterator[str]:
    action = _number(found.raw(1))
    yield f"action {_SEG6_ACTIONS.get(action, action)}"
    if header := found.raw(2):
        yield f"srh segs {_segments(header)}"
    for kind, name in ((3, "table"), (9, "vrftable"), (6, "iif"), (7, "oif")):
        if raw := found.raw(kind):
            yield f"{name} {_number(raw)}"
    for kind, name in ((4, "nh4"), (5, "nh6")):
        if raw := found.raw(kind):
            yield f"{name} {_address(raw)}"


def _bpf(found: Attributes) -> Iterator[str]:
    for kind, name in ((1, "in"), (2, "out"), (3, "xmit")):
        for inner, first, last in attributes(found.buf, *found.span(kind)):
            if inner == 2:  # LWT_BPF_PROG_NAME
                yield f"{name} {_name(bytes(found.buf[first:last]))}"


def _xfrm(found: Attributes) -> Iterator[str]:
    yield f"if_id {_number(found.raw(1)):#x}"


_KINDS: dict[int, tuple[str, Callable[[Attributes], Iterator[str]]]] = {
    1: ("mpls", _mpls),
    2: ("ip", _ip),
    3: ("ila", _none),
    4: ("ip6", partial(_ip, names=("id", "dst", "src", "hoplimit", "tc"))),
    5: ("seg6", _seg6),
    6: ("bpf", _bpf),
    7: ("seg6local", _seg6local),
    8: ("rpl", _none),
    9: ("ioam6", _none),
    10: ("xfrm", _xfrm),
}
