"""The capture of exactly one flow, on both sides of its NAT."""

from __future__ import annotations

from dataclasses import dataclass

from nettop.columns import HAVE_OPORTS, HAVE_REPLY, HAVE_RPORTS
from nettop.model.flows.capture_filter import Side, selector_of, side_filter
from nettop.model.flows.cells import RowView
from nettop.model.flows.devices import FlowDevices
from nettop.text.address import endpoint_text
from nettop.text.flow import NAT_LABELS, PROTO_NAMES, is_icmp

_NO_DEVICE = ("", "local", "–")  # this host itself, or no route


@dataclass(frozen=True, slots=True)
class FlowCapture:
    """The capture of one flow, on both sides of its NAT, with its fragments and the ICMP errors about it."""

    expression: str  # in pcap-filter(7) syntax
    devices: tuple[tuple[str, str], ...] = ()  # name and what it shows: ("eth0", "before SNAT"); (): not known
    notes: str = ""  # on one line


def flow_capture(row: RowView, devices: FlowDevices | None = None) -> FlowCapture:
    """Return the capture filter of a flow's original tuple and, with NAT, of its reply tuple, and the devices for it.

    The device at which the original direction enters shows the first, the one at which it leaves the second. Later
    fragments carry no ports, so those of other flows between the same hosts are captured too.
    """
    sides = _sides(row)
    expression = " or ".join(side_filter(side) for side in sides)
    nat = NAT_LABELS[row.value("nat") & 15]
    shown = _devices(row, devices, len(sides) > 1, nat or "NAT")
    return FlowCapture(expression, shown, "; ".join(_notes(row, sides, shown, nat or "NAT")))


def _sides(row: RowView) -> list[Side]:
    """Return the original tuple, and the reply tuple where it differs on the wire."""
    original = _side(row, "osrc", "odst", HAVE_OPORTS)
    if not row.have & HAVE_REPLY:
        return [original]
    reply = _side(row, "rdst", "rsrc", HAVE_RPORTS)  # reversed: the original direction after NAT
    return [original] if reply == original else [original, reply]


def _side(row: RowView, src: str, dst: str, ports: int) -> Side:
    proto = row.value("proto")
    first, second = row.value(f"{src[0]}{src[1]}port"), row.value(f"{dst[0]}{dst[1]}port")
    if is_icmp(proto):
        identity = row.value(f"{src[0]}sport")
        first, second = identity, identity
    return Side(
        row.value("family"),
        proto,
        row.address(src),
        row.address(dst),
        first,
        second,
        bool(row.have & ports),
        (row.value("odport") >> 8, row.value("rdport") >> 8) if is_icmp(proto) else (0, 0),
    )


def _devices(row: RowView, devices: FlowDevices | None, translated: bool, nat: str) -> tuple[tuple[str, str], ...]:
    found = devices.devices(row) if devices is not None else None
    incoming, outgoing = (None if name in _NO_DEVICE else name for name in found or (None, None))
    if incoming is not None and incoming == outgoing:
        return ((incoming, f"both sides of the {nat}" if translated else "both ways"),)
    shown = (f"before {nat}", f"after {nat}") if translated else ("towards its source", "towards its destination")
    return tuple((name, what) for name, what in zip((incoming, outgoing), shown, strict=True) if name is not None)


def _notes(row: RowView, sides: list[Side], devices: tuple[tuple[str, str], ...], nat: str) -> list[str]:
    original = f"{row.endpoint('osrc')} ⇄ {row.endpoint('odst')}"
    found = [original]
    if len(sides) > 1:
        found = [f"{original} before {nat}, {_endpoints(sides[1])} after it"]
    proto, selector = row.value("proto"), selector_of(sides[0])
    if selector == "hosts":
        found.append(f"{PROTO_NAMES[proto]} of these hosts, of every flow: libpcap cannot tell them apart")
    elif selector == "id":
        found.append("by its ICMP id")
    found.append("with fragments of these hosts, and ICMP errors about it")
    if row.value("zone"):
        found.append(f"zone {row.value('zone')} is not on the wire: the same addresses in other zones come along")
    if not row.have & HAVE_REPLY:
        found.append("its reply tuple is not known")
    if not devices:
        found.append("its devices are not known: capture on those at both ends")
    return found


def _endpoints(side: Side) -> str:
    ports = (side.sport, side.dport) if selector_of(side) == "ports" else (None, None)
    src, dst = (
        endpoint_text(side.family, *address, port) for address, port in zip((side.src, side.dst), ports, strict=True)
    )
    return f"{src} ⇄ {dst}"
