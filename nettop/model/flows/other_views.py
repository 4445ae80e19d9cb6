"""The same thing in another view: the filter that finds a flow among flows, events and packets."""

from __future__ import annotations

from nettop.columns import HAVE_REPLY
from nettop.model.filter.vocabulary import proto_filter, word_filter
from nettop.model.flows.cells import RowView
from nettop.text.address import address_text


def filter_of(row: RowView, to: str, netns: bool = False) -> str:
    """A display filter for view `to` ("flows", "events" or "packets") that finds this flow and what belongs to it.

    Of flows and events it is the original tuple; of packets both tuples, in both directions, as they look on either
    side of a NAT. `netns`: flows of several namespaces are shown, so say which.
    """
    proto = proto_filter(row.value("proto"))
    if to == "packets":
        sides = dict.fromkeys([_either_way(row, "osrc", "odst"), _either_way(row, "rsrc", "rdst")])
        return f"{proto} and ({' or '.join(side for side in sides if side)})"
    parts = [proto, *_end(row, "osrc"), *_end(row, "odst")]
    if row.value("zone"):
        parts.append(f"zone {row.value('zone')}")
    if netns:
        parts.append(word_filter("netns", row.netns_label(row.value("netns"))))
    return " and ".join(parts)


def _end(row: RowView, end: str) -> list[str]:
    """`osrc host 10.0.0.1`, `osrc port 443`."""
    parts = [f"{end} host {_address(row, end)}"]
    return parts if (port := row.port(end)) is None else [*parts, f"{end} port {port}"]


def _either_way(row: RowView, src: str, dst: str) -> str:
    """Packets between these ends; "" where they are not known."""
    if src.startswith("r") and not row.have & HAVE_REPLY:
        return ""
    ends = [(_address(row, end), row.port(end)) for end in (src, dst)]
    if ends[0] > ends[1]:
        ends.reverse()  # a mirrored reply tuple says the same
    (one, port), (other, other_port) = ends
    hosts = f"host {one} and host {other}"
    return f"({hosts})" if port is None else f"({hosts} and port {port} and port {other_port})"


def _address(row: RowView, end: str) -> str:
    return address_text(row.value("family"), *row.address(end))
