"""pyroute2's classes are the reference: on the same bytes both decoders must say the same."""

from __future__ import annotations

import ipaddress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.nfnetlink.nfctsocket import nfct_msg

from nettop import columns as c
from nettop.columns import Strings
from nettop.decode.conntrack.decoder import ConntrackDecoder
from tests.unit.decode.conntrack.flow_messages import Flow, flows, rows
from tests.unit.decode.netlink_bytes import batch

LOW = (1 << 64) - 1
NUMBERS = {
    "CTA_STATUS": ("status", c.HAVE_STATUS),
    "CTA_TIMEOUT": ("timeout", c.HAVE_TIMEOUT),
    "CTA_MARK": ("mark", c.HAVE_MARK),
    "CTA_USE": ("use", c.HAVE_USE),
    "CTA_ID": ("id", c.HAVE_ID),
    "CTA_ZONE": ("zone", c.HAVE_ZONE),
}


def reference(message: bytes) -> dict[str, Any]:
    """What pyroute2 makes of a message, in our columns."""
    decoded = nfct_msg(message)
    decoded.decode()
    found: dict[str, Any] = {}
    have = 0
    for name, (column, bit) in NUMBERS.items():
        if (value := decoded.get_attr(name)) is not None:
            found[column] = value
            have |= bit
    for name, side in (("CTA_TUPLE_ORIG", "o"), ("CTA_TUPLE_REPLY", "r")):
        if (held := decoded.get_attr(name)) is not None:
            have |= _tuple(held, side, found)
    for name, side in (("CTA_COUNTERS_ORIG", "o"), ("CTA_COUNTERS_REPLY", "r")):
        if (held := decoded.get_attr(name)) is not None:
            found[f"{side}packets"] = held.get_attr("CTA_COUNTERS_PACKETS")
            found[f"{side}bytes"] = held.get_attr("CTA_COUNTERS_BYTES")
            have |= c.HAVE_OCOUNT if side == "o" else c.HAVE_RCOUNT
    have |= _times(decoded, found) | _state(decoded, found)
    return {name: 0 for name in c.FLOW_DTYPES} | found | {"have": have, "family": decoded["nfgen_family"]}


def _tuple(held: Any, side: str, found: dict[str, Any]) -> int:
    addresses, layer4 = held.get_attr("CTA_TUPLE_IP"), held.get_attr("CTA_TUPLE_PROTO")
    for end in ("src", "dst"):
        text = addresses.get_attr(f"CTA_IP_V4_{end.upper()}") or addresses.get_attr(f"CTA_IP_V6_{end.upper()}")
        value = ipaddress.ip_address(text)
        found[f"{side}{end}_lo"] = int(value) & LOW
        found[f"{side}{end}_hi"] = int(value) >> 64
    found["proto"] = layer4.get_attr("CTA_PROTO_NUM")
    have = c.HAVE_ORIG if side == "o" else c.HAVE_REPLY
    ports = c.HAVE_OPORTS if side == "o" else c.HAVE_RPORTS
    for family in ("ICMP", "ICMPV6"):
        if (number := layer4.get_attr(f"CTA_PROTO_{family}_ID")) is not None:
            kind, code = layer4.get_attr(f"CTA_PROTO_{family}_TYPE"), layer4.get_attr(f"CTA_PROTO_{family}_CODE")
            found |= {f"{side}sport": number, f"{side}dport": kind << 8 | code}
            return have | ports
    if (sport := layer4.get_attr("CTA_PROTO_SRC_PORT")) is None:
        return have
    found |= {f"{side}sport": sport, f"{side}dport": layer4.get_attr("CTA_PROTO_DST_PORT")}
    return have | ports


def _times(decoded: Any, found: dict[str, Any]) -> int:
    held, have = decoded.get_attr("CTA_TIMESTAMP"), 0
    for name, column, bit in (("START", "start_ns", c.HAVE_START), ("STOP", "stop_ns", c.HAVE_STOP)):
        if held is not None and (value := held.get_attr(f"CTA_TIMESTAMP_{name}")) is not None:
            found[column] = value
            have |= bit
    return have


def _state(decoded: Any, found: dict[str, Any]) -> int:
    held = decoded.get_attr("CTA_PROTOINFO")
    for name in ("TCP", "DCCP", "SCTP"):
        if held is not None and (inner := held.get_attr(f"CTA_PROTOINFO_{name}")) is not None:
            found["state"] = inner.get_attr(f"CTA_PROTOINFO_{name}_STATE")
            return c.HAVE_STATE
    return 0


NOT_COMPARED = ("event", "ts_ns", "helper", "labels")  # pyroute2 takes CTA_HELP for a string; labels: see below


@given(flows(with_names=False), st.sampled_from([1, 10]))
def test_messages_decode_as_pyroute2_decodes_them(flow: Flow, times: int) -> None:
    strings = Strings()
    ours = rows(ConntrackDecoder(strings)(batch([flow.message] * times)), strings)[-1]
    theirs = reference(flow.message)
    compared = [name for name in c.FLOW_DTYPES if name not in NOT_COMPARED]
    assert {name: ours[name] for name in compared} == {name: theirs[name] for name in compared}


PORTS = st.integers(0, 0xFFFF)
ADDRESS4 = st.ip_addresses(v=4).map(str)
ADDRESS6 = st.ip_addresses(v=6).map(str)


@st.composite
def encoded_by_pyroute2(draw: st.DrawFn) -> bytes:
    """A message written by pyroute2's own encoder."""
    six = draw(st.booleans())
    version, address = ("V6", ADDRESS6) if six else ("V4", ADDRESS4)
    attributes: list[tuple[str, Any]] = []
    for name in ("CTA_TUPLE_ORIG", "CTA_TUPLE_REPLY"):
        ends = [(f"CTA_IP_{version}_SRC", draw(address)), (f"CTA_IP_{version}_DST", draw(address))]
        ports = [("CTA_PROTO_NUM", 6), ("CTA_PROTO_SRC_PORT", draw(PORTS)), ("CTA_PROTO_DST_PORT", draw(PORTS))]
        attributes.append((name, {"attrs": [("CTA_TUPLE_IP", {"attrs": ends}), ("CTA_TUPLE_PROTO", {"attrs": ports})]}))
    numbers = draw(st.sets(st.sampled_from(["CTA_STATUS", "CTA_TIMEOUT", "CTA_MARK", "CTA_ID"])))
    attributes += [(name, draw(st.integers(0, 0xFFFFFFFF))) for name in sorted(numbers)]
    if draw(st.booleans()):
        attributes.append(("CTA_ZONE", draw(PORTS)))
    message = nfct_msg()
    message["nfgen_family"] = 10 if six else 2
    message["attrs"] = draw(st.permutations(attributes))
    message["header"]["type"] = 0x100
    message.encode()
    return bytes(message.data)


@given(encoded_by_pyroute2())
def test_messages_that_pyroute2_writes_are_read_as_it_reads_them(message: bytes) -> None:
    strings = Strings()
    decoded = ConntrackDecoder(strings)(batch([message]))
    assert not len(decoded.errors)
    ours, theirs = rows(decoded, strings)[0], reference(message)
    compared = [name for name in c.FLOW_DTYPES if name not in NOT_COMPARED]
    assert {name: ours[name] for name in compared} == {name: theirs[name] for name in compared}
