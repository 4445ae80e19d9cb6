"""One flow to copy: as a line of text, as a JSON object, or as a command that shows it."""

from __future__ import annotations

import shlex

import numpy as np

from nettop import columns as ct
from nettop.linux.inet import IPPROTO_GRE, IPPROTO_ICMP, IPPROTO_ICMPV6, WITH_PORTS
from nettop.linux.socket import AF_INET6
from nettop.model.flows.cells import RowView
from nettop.model.flows.lines import FlowLines, json_joined
from nettop.model.flows.templates import text_template
from nettop.text import flow as words
from nettop.text.address import address_text
from nettop.text.netns import enter_command

_RATES = ("rate_up", "rate_down", "measured_up", "measured_down")
_COPIED: dict[str, type[np.generic]] = {**ct.FLOW_DTYPES, **dict.fromkeys(_RATES, np.float32)}
# The options of conntrack(8) for the numbers that are in the place of ports.
_NAMED_IDS = {
    IPPROTO_ICMP: ("--icmp-type", "--icmp-code", "--icmp-id"),
    IPPROTO_ICMPV6: ("--icmpv6-type", "--icmpv6-code", "--icmpv6-id"),
}


def flow_text(row: RowView, form: str) -> str:
    """Return a flow (or that of an event) as "text", "json" or a "conntrack" command; "" for a row without a tuple."""
    if not row.have & ct.HAVE_ORIG:
        return ""
    if form == "conntrack":
        return shlex.join([*enter_command(row.netns_label(row.value("netns"))), *conntrack_command(row)])
    if form == "text":
        lines = FlowLines(row.strings, row.netns_label, text_template)
    else:
        lines = FlowLines(row.strings, row.netns_label, joined=json_joined)
    data = {name: np.array([row.value(name)], dtype) for name, dtype in _COPIED.items() if name in row.data}
    return lines.lines(data, row.value("netns"))[0]


def conntrack_command(row: RowView) -> list[str]:
    """Return the conntrack(8) command that shows exactly this flow, as arguments, to run in the flow's namespace.

    -G gets one entry from the kernel, but only in the default zone; for other zones -L lists the whole table.
    """
    source, destination = (address_text(row.value("family"), *row.address(end)) for end in ("osrc", "odst"))
    endpoints = [*_protocol(row), "-s", source, "-d", destination, *_ports(row)]
    if not row.value("zone"):
        return ["conntrack", "-G", *endpoints]
    family = ["-f", "ipv6"] if row.value("family") == AF_INET6 else []
    return ["conntrack", "-L", *family, *endpoints, _zone_option(row.have), str(row.value("zone"))]


def _protocol(row: RowView) -> list[str]:
    proto = row.value("proto")
    named = proto in (*WITH_PORTS, *_NAMED_IDS, IPPROTO_GRE)
    return ["-p", words.PROTO_NAMES[proto] if named else str(proto)]


def _ports(row: RowView) -> list[str]:
    proto, source, destination = row.value("proto"), row.value("osport"), row.value("odport")
    if not row.have & ct.HAVE_OPORTS:
        return []
    if proto in _NAMED_IDS:
        values = (destination >> 8, destination & 255, source)
        return [part for option, value in zip(_NAMED_IDS[proto], values, strict=True) for part in (option, str(value))]
    if proto == IPPROTO_GRE:
        return ["--srckey", str(source), "--dstkey", str(destination)]
    return ["--sport", str(source), "--dport", str(destination)] if proto in WITH_PORTS else []


def _zone_option(have: int) -> str:
    if have & ct.HAVE_ZONE_ORIG_ONLY:
        return "--orig-zone"
    return "--reply-zone" if have & ct.HAVE_ZONE_REPLY_ONLY else "--zone"
