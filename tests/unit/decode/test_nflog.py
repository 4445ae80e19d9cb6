"""Trace records of iptables-legacy from bytes in the kernel's format."""

from __future__ import annotations

from struct import pack

from hypothesis import given
from hypothesis import strategies as st

from nettop.decode.nflog import decode_nflog
from nettop.linux import nfnetlink
from tests.unit.decode.netlink_bytes import batch, ct
from tests.unit.decode.netlink_bytes import nla as attribute

PACKET = bytes.fromhex("4500005412340000400100000a0801020a080202") + bytes.fromhex("0800abcd00010007")


def record(prefix: bytes, family: int = nfnetlink.NFPROTO_IPV4, hook: int = 2, packet: bytes = PACKET) -> bytes:
    body = attribute(nfnetlink.NFULA_PACKET_HDR, pack("!HBx", 0x0800, hook))
    body += attribute(nfnetlink.NFULA_PREFIX, prefix + b"\0") + attribute(nfnetlink.NFULA_PAYLOAD, packet)
    return ct(body, kind=nfnetlink.NFNL_SUBSYS_ULOG << 8 | nfnetlink.NFULNL_MSG_PACKET, family=family)


def test_a_record_names_table_chain_and_rule_and_has_the_headers() -> None:
    (found,) = decode_nflog(batch([record(b"TRACE: filter:FORWARD:rule:12 ")])).records
    assert (found.family, found.table, found.chain, found.type, found.number, found.hook) == (
        "ip", "filter", "FORWARD", "rule", 12, "forward",
    )  # fmt: skip
    assert (found.network, found.transport) == (PACKET[:20], PACKET[20:])


def test_a_chain_may_have_colons_in_its_name() -> None:
    (found,) = decode_nflog(batch([record(b"TRACE: mangle:a:b:policy:3 ")])).records
    assert (found.table, found.chain, found.type, found.number) == ("mangle", "a:b", "policy", 3)


def test_what_others_log_to_the_group_is_passed_over() -> None:
    for other in (b"", b"my prefix", b"TRACE: ", b"TRACE: filter:FORWARD:rule:x", b"TRACE: filter:F:other:1"):
        found = decode_nflog(batch([record(other)]))
        assert not found.records and not len(found.errors.offset)


@given(st.binary(max_size=80))
def test_no_packet_bytes_raise(packet: bytes) -> None:
    assert len(decode_nflog(batch([record(b"TRACE: raw:OUTPUT:rule:1", packet=packet)])).records) == 1


@given(st.integers(0, 200), st.binary(max_size=40))
def test_no_bytes_raise(cut: int, tail: bytes) -> None:
    decode_nflog(batch([record(b"TRACE: raw:OUTPUT:rule:1")[:cut] + tail]))


UDP = bytes.fromhex("0035000500080000")


def split(begin: str, extensions: str = "") -> tuple[bytes, bytes]:
    packet = bytes.fromhex(begin + extensions) + UDP
    (found,) = decode_nflog(batch([record(b"TRACE: raw:OUTPUT:rule:1 ", packet=packet)])).records
    return found.network, found.transport


def test_the_headers_of_ipv6_are_those_that_nf_tables_gives() -> None:
    """The transport header is behind those of extensions; a fragment but the first has its IP header there."""
    fixed = lambda proto: f"600000000018{proto:02x}40fd080001{'0' * 22}02fd080002{'0' * 22}02"  # noqa: E731
    behind = {0: "3c00010400000000" + "1100010400000000", 44: "1100000100000007"}
    for proto, extensions in behind.items():
        assert split(fixed(proto), extensions) == (bytes.fromhex(fixed(proto)), UDP)
    later = fixed(44) + "1100006100000007"
    assert split(later) == (b"", bytes.fromhex(later) + UDP)
