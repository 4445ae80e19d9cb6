"""The first step of a packet that comes in: its addresses, and rp_filter with the way back."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from nettop.decode.rtnetlink import RouteAnswer
from nettop.linux.socket import AF_INET
from nettop.model.topology.route_case import TO_MANY, Case, RouteStep

REFUSED = (errno.EINVAL, errno.EXDEV)  # of a source address: since 6.14 rp_filter has EINVAL, too
_MODES = {0: "off", 1: "strict", 2: "loose"}


def comes_in(case: Case) -> Iterator[RouteStep]:
    """Yield the step; none for a packet that this host makes. It sets `refused`."""
    name = case.query.in_device
    if case.arrives_at != name:
        yield RouteStep("in", f"{case.arrives_at} is a port of {name}: IP packets come in by {name}", "inferred")
    device = next((one for one in case.here.devices.values() if one.link.name == name), None)
    if device is None:
        return
    if not device.link.up:
        yield RouteStep("in", f"{name} is down: nothing comes in", "drops")
    elif case.query.family != AF_INET:
        reason = _martian6(case)
        case.refused = bool(reason)
        yield RouteStep("in", f"{name}, {reason or 'IPv6 has no rp_filter'}", "drops" if reason else "passes")
    else:
        reason = _martian(case) if case.chosen.error in REFUSED else ""
        text = f"{name}, {reason}" if reason else f"{name}, {_reverse_path(case)}"
        case.refused = bool(reason) or text.endswith("dropped")
        yield RouteStep("in", text, "drops" if case.refused else "passes")


def _martian(case: Case) -> str:
    """Return why the addresses of a packet cannot come in by a device (net/ipv4/route.c, ip_route_input_slow)."""
    source, destination = case.query.source, case.query.destination
    if source is None:
        return ""
    localnet = case.conf(4, "route_localnet")
    for word, address in (("source", source), ("destination", destination)):
        if int(address) >> 24 == 0 and int(address):
            return f"martian {word}: {address} is in 0.0.0.0/8"
        if address.is_loopback and not localnet:
            return f"martian {word}: {address} outside of lo, and route_localnet is 0"
    back = case.back.route if case.back is not None else None
    if source.is_multicast or int(source) == 0xFFFF_FFFF or (back is not None and back.kind in TO_MANY):
        return f"martian source: {source} is no address of one host"
    own = any(one.address == int(source) for one in case.here.addresses if one.family == AF_INET)
    if own and not case.conf(4, "accept_local"):
        return f"martian source: {source} is an address of this host, and accept_local is 0"
    return ""


def _martian6(case: Case) -> str:
    """Return why an IPv6 packet is dropped as it comes in (net/ipv6/ip6_input.c, ip6_rcv_core)."""
    if case.conf(6, "disable_ipv6"):
        return "IPv6 is disabled on it: dropped"
    source = case.query.source
    if source is not None and case.query.in_device != "lo":
        if source.is_multicast:
            return f"martian source: {source} is no address of one host"
        for word, address in (("source", source), ("destination", case.query.destination)):
            if address.is_loopback:
                return f"martian {word}: {address} outside of lo"
    return ""


def _reverse_path(case: Case) -> str:
    """Return the clause on rp_filter: its mode in effect, and the way back. It ends in "dropped" if that fails."""
    mode = case.conf(4, "rp_filter")
    word = "unknown" if mode is None else _MODES.get(mode, "loose")
    back = case.back or RouteAnswer(errno.ENETUNREACH)
    devices = [] if back.route is None else list(dict.fromkeys(case.here.name(hop.ifindex) for hop in back.route.hops))
    way = f"way back is {' or '.join(devices)}" if devices else "there is no way back"
    matches = case.query.in_device in devices
    failed = bool(mode) and not matches and (mode == 1 or not devices)
    asymmetric = "" if matches or not devices else " (asymmetric)"
    dropped = failed and case.chosen.error in REFUSED
    return f"rp_filter {word}: {way}{', dropped' if dropped else asymmetric}"
