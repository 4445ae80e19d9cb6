"""The capture that takes exactly one flow, on both sides of its NAT."""

from __future__ import annotations

from dataclasses import dataclass

from nettop.columns import HAVE_OPORTS, HAVE_REPLY, HAVE_RPORTS
from nettop.model.flows.capture_filter import Side, side_filter, sort_of
from nettop.model.flows.cells import RowView
from nettop.model.flows.devices import FlowDevices
from nettop.text.address import endpoint_text
from nettop.text.flow import NAT_LABELS, PROTO_WORDS, is_icmp

_NO_DEVICE = ("", "local", "–")  # this host itself, or no route


@dataclass(frozen=True, slots=True)
class FlowCapture:
    """The capture that takes one flow, on both sides of its NAT, with its fragments and the ICMP errors about it."""

    expression: str  # libpcap's language
    devices: tuple[tuple[str, str], ...] = ()  # name and what it shows: ("eth0", "before SNAT"); () not known
    words: str = ""  # what must be known of it, in one line


def flow_capture(row: RowView, devices: FlowDevices | None = None) -> FlowCapture:
    """The capture filter of a flow's original tuple and, behind NAT, of its reply tuple, and where to use it.

    A device that the original direction comes in by shows the first, one that it leaves by the second. Later fragments
    carry no ports: those of the same hosts come along, and are to be sorted out afterwards.
    """
    sides = _sides(row)
    expression = " or ".join(side_filter(side) for side in sides)
    nat = NAT_LABELS[row.value("nat") & 15]
    shown = _devices(row, devices, len(sides) > 1, nat or "NAT")
    return FlowCapture(expression, shown, "; ".join(_words(row, sides, shown, nat or "NAT")))


def _sides(row: RowView) -> list[Side]:
    """The original tuple, and the reply tuple where it is not the same on the wire."""
    original = _side(row, "osrc", "odst", HAVE_OPORTS)
    if not row.have & HAVE_REPLY:
        return [original]
    reply = _side(row, "rdst", "rsrc", HAVE_RPORTS)  # turned round: as the original direction looks behind NAT
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
    near, far = (None if name in _NO_DEVICE else name for name in found or (None, None))
    if near is not None and near == far:
        return ((near, f"both sides of the {nat}" if translated else "both ways"),)
    shown = (f"before {nat}", f"after {nat}") if translated else ("towards its source", "towards its destination")
    return tuple((name, what) for name, what in zip((near, far), shown, strict=True) if name is not None)


def _words(row: RowView, sides: list[Side], devices: tuple[tuple[str, str], ...], nat: str) -> list[str]:
    before = f"{row.endpoint('osrc')} ⇄ {row.endpoint('odst')}"
    found = [before]
    if len(sides) > 1:
        found = [f"{before} before {nat}, {_ends(sides[1])} after it"]
    proto, sort = row.value("proto"), sort_of(sides[0])
    if sort == "hosts":
        found.append(f"{PROTO_WORDS[proto]} of these hosts, whatever the flow: libpcap sees no more of it")
    elif sort == "id":
        found.append("by its ICMP id")
    found.append("with fragments of these hosts, and ICMP errors about it")
    if row.value("zone"):
        found.append(f"zone {row.value('zone')} is not on the wire: the same addresses in other zones come along")
    if not row.have & HAVE_REPLY:
        found.append("its reply tuple is not known")
    if not devices:
        found.append("its devices are not known: capture on those at both ends")
    return found


def _ends(side: Side) -> str:
    ports = (side.sport, side.dport) if sort_of(side) == "ports" else (None, None)
    src, dst = (
        endpoint_text(side.family, *address, port) for address, port in zip((side.src, side.dst), ports, strict=True)
    )
    return f"{src} ⇄ {dst}"
