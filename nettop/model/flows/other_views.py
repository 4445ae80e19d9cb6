"""The filter that finds a flow in another view: among flows, events or packets."""

from __future__ import annotations

from nettop.columns import HAVE_REPLY
from nettop.model.filter.vocabulary import proto_filter, way_filter, word_filter
from nettop.model.flows.cells import RowView
from nettop.text.address import address_text, with_port


def filter_of(row: RowView, to: str, netns: bool = False) -> str:
    """Return a display filter for view `to` ("flows", "events", "packets" or "traces") that finds a flow's records.

    Flows and events are found by the original tuple, packets by both tuples in both directions, as they are on either
    side of a NAT, traced packets as they come in, before it. `netns`: also by namespace, as flows of several are shown.
    """
    proto = proto_filter(row.value("proto"))
    if to == "traces":
        ways = [("osrc", "odst"), *([("rsrc", "rdst")] if row.have & HAVE_REPLY else [])]
        return f"{proto} and ({' or '.join(_way(row, *way) for way in ways)})"
    if to == "packets":
        sides = dict.fromkeys([_both_directions(row, "osrc", "odst"), _both_directions(row, "rsrc", "rdst")])
        return f"{proto} and ({' or '.join(side for side in sides if side)})"
    parts = [proto, *_endpoint(row, "osrc"), *_endpoint(row, "odst")]
    if row.value("zone"):
        parts.append(f"zone {row.value('zone')}")
    if netns:
        parts.append(word_filter("netns", row.netns_label(row.value("netns"))))
    return " and ".join(parts)


def _endpoint(row: RowView, end: str) -> list[str]:
    """Return `osrc host 10.0.0.1`, `osrc port 443`."""
    parts = [f"{end} host {_address(row, end)}"]
    return parts if (port := row.port(end)) is None else [*parts, f"{end} port {port}"]


def _both_directions(row: RowView, src: str, dst: str) -> str:
    """Return the filter of packets between these endpoints; "" where they are not known."""
    if src.startswith("r") and not row.have & HAVE_REPLY:
        return ""
    endpoints = [(_address(row, end), row.port(end)) for end in (src, dst)]
    if endpoints[0] > endpoints[1]:
        endpoints.reverse()  # so that a mirrored reply tuple gives the same filter
    (one, port), (other, other_port) = endpoints
    hosts = f"host {one} and host {other}"
    return f"({hosts})" if port is None else f"({hosts} and port {port} and port {other_port})"


def _way(row: RowView, src: str, dst: str) -> str:
    """Return the filter of packets from one end to the other."""
    ends = [(_address(row, end), row.port(end)) for end in (src, dst)]
    source, destination = (address if port is None else with_port(address, port) for address, port in ends)
    return way_filter(source, destination)


def _address(row: RowView, end: str) -> str:
    return address_text(row.value("family"), *row.address(end))
