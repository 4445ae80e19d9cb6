"""The tests that a tracing table makes of a filter: they mark what the filter matches, and nothing else."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nettop.broker.requests import PacketMatch, PacketTest, StartTrace
from nettop.broker.tracing import table as trace_table
from nettop.errors import FilterError, UsageError
from nettop.linux.nf_tables import NFT_META_L4PROTO, NFT_META_NFPROTO
from nettop.model.filter.expression import Filter, parse
from nettop.model.traces.match import matches
from tests.unit.model.filter.filter_rows import Row, TableOfRows
from tests.unit.model.filter.test_property import FOUR, PORTS, PROTOCOLS, SIX

DEVICES = ["eth0", "eth1"]
PRIMITIVES = [
    *(f"{side}host {address}" for side in ("", "src ", "dst ", "src and dst ") for address in (FOUR[0], SIX[0])),
    *(f"{side}net {net}" for side in ("", "src ") for net in ("10.0.0.0/23", "fd00::/48", "0.0.0.0/0")),
    *(f"{side}port {port}" for side in ("", "src ", "dst ") for port in (53, 443)),
    *("portrange 53-443", "tcp dst port 443", "udp", "icmp", "icmp6", "sctp", "ip", "ip6", "proto 47", "proto != 6"),
    *("10.0.0.1:443", ":443", "[fd00::1]:80", "device eth0", "device != eth1", "port (80 or 443)", "ip6 proto 17"),
]


def parsed(text: str) -> Filter:
    found = parse(text, "trace")
    assert found is not None
    return found


def value(test: PacketTest, row: Row) -> int:
    """The field of a test in a packet. What has no ports has other bytes there, which look like some."""
    (src, sport), (dst, dport) = row.ends["o0"], row.ends["o1"]
    six = row.family == 10
    if test.of == "meta":
        return {NFT_META_NFPROTO: 10 if six else 2, NFT_META_L4PROTO: row.proto}[test.at]
    if test.of == "transport":
        return {0: sport, 2: dport}[test.at]
    if test.of == "device":
        return int.from_bytes(row.words["device"].encode().ljust(16, b"\0"), "big")
    header = bytes(8 if six else 12) + ipaddress.ip_address(src).packed + ipaddress.ip_address(dst).packed
    return int.from_bytes(header.ljust(40, b"\xa5")[test.at : test.at + test.size], "big")


def marked(found: tuple[PacketMatch, ...], row: Row) -> bool:
    def holds(test: PacketTest) -> bool:
        return (test.first <= value(test, row) & test.mask <= test.last) is test.holds

    return any(all(map(holds, match.tests)) for match in found)


@st.composite
def packets(draw: st.DrawFn) -> Row:
    addresses = st.sampled_from(draw(st.sampled_from([FOUR, SIX])))
    ends = {name: (draw(addresses), draw(st.sampled_from(PORTS))) for name in ("o0", "o1")}
    proto = draw(st.sampled_from(list(PROTOCOLS.values())))
    return Row(ends, proto, words={"device": draw(st.sampled_from(DEVICES))})


def joined(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.tuples(parts, st.sampled_from(["and", "or"]), parts)
    return pairs.map(lambda pair: f"({' '.join(pair)})") | parts.map(lambda part: f"not {part}")


EXPRESSIONS = st.recursive(st.sampled_from(PRIMITIVES), joined, max_leaves=4)


@given(EXPRESSIONS, st.lists(packets(), min_size=1, max_size=20))
def test_what_is_marked_is_what_the_filter_matches(text: str, rows: list[Row]) -> None:
    filtered = parse(text, "packet")
    assert filtered is not None
    expected = filtered.mask(TableOfRows("packet", rows)).tolist()
    try:
        found = matches(parsed(text))
    except UsageError as error:
        assert "alternatives" in error.message or not any(expected)
        return
    assert [marked(found, row) for row in rows] == expected
    trace_table.batch("nettop-1", StartTrace(0, found, 50, 60, True, True), ("lo",))  # the broker takes all of it


def test_a_tcp_connection_is_traced_by_its_first_packet() -> None:
    (found,) = matches(parsed("dst host 10.0.0.1 and tcp dst port 443"), syn=True)
    assert [(test.of, test.at, test.first, test.mask) for test in found.tests if test.of == "transport"] == [
        ("transport", 2, 443, 0xFFFF),
        ("transport", 13, 0x02, 0x12),
    ]
    with pytest.raises(UsageError, match="no packet can match"):
        matches(parsed("udp"), syn=True)


def test_few_alternatives_are_made_of_what_people_ask() -> None:
    """Each is a rule that every packet of the host meets while it is traced."""
    assert len(matches(parsed("host 10.0.0.5 and tcp port 443"))) == 4
    assert len(matches(parsed("net 10.0.0.0/8"))) == 2
    assert len(matches(parsed("icmp"))) == 1
    assert len(matches(parsed("not port 22"))) == 6


def test_a_filter_of_too_many_alternatives_is_refused() -> None:
    ports = " or ".join(f"port {port}" for port in range(1, 40))
    with pytest.raises(UsageError, match="more than 128 alternatives"):
        matches(parsed(ports))
    with pytest.raises(UsageError, match="more than 128 alternatives"):
        matches(parsed(" and ".join(["(host 10.0.0.1 or host 10.0.0.2 or port 80)"] * 8)))


@pytest.mark.parametrize("name", ["*", "v*h*", "a?", "sixteen-characters"])
def test_a_device_needs_its_name_or_its_begin_which_the_caret_says(name: str) -> None:
    with pytest.raises(FilterError, match="the name of a device, or its begin") as refused:
        matches(parsed(f"udp and device {name}"))
    assert refused.value.position == len("udp and device ")


def test_the_begin_of_a_device_s_name_is_tested_alone() -> None:
    ((only,),) = (match.tests for match in matches(parsed("device veth*")))
    assert (only.first.to_bytes(16, "big"), only.mask.to_bytes(16, "big")) == (
        b"veth".ljust(16, b"\0"),
        b"\xff\xff\xff\xff".ljust(16, b"\0"),
    )
