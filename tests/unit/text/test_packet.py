"""The words of packets, and bytes as hex."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nettop.text import packet
from nettop.text.hexdump import hex_lines


@pytest.mark.parametrize(
    ("flags", "names"), [(2, "SYN"), (18, "SYN, ACK"), (24, "PSH, ACK"), (4, "RST"), (0, "none"), (256, "AE")]
)
def test_tcp_flags_have_names(flags: int, names: str) -> None:
    assert packet.tcp_flag_names(flags) == names


def test_a_code_that_has_no_name_falls_back_to_its_type_and_then_to_numbers() -> None:
    assert packet.icmp_message(3 << 8 | 1) == "host unreachable"
    assert packet.icmp_message(3 << 8 | 200) == "unreachable"
    assert packet.icmp_message(200 << 8 | 7) == "type 200 code 7"
    assert packet.icmpv6_message(128 << 8) == "echo request"


def test_numbers_without_a_name_are_shown_as_numbers() -> None:
    assert (packet.proto_name(6), packet.proto_name(200)) == ("tcp", "proto-200")
    assert (packet.ethertype_name(0x806), packet.ethertype_name(0x88B5)) == ("arp", "0x88b5")


def test_a_hex_line_stands_in_two_groups_of_eight() -> None:
    line = hex_lines(b"RT\x00\xaa\x01\x01RT\x00\xaa\x01\x02\x08\x00E\x00")[0]
    assert line.text() == "0000  52 54 00 aa 01 01 52 54  00 aa 01 02 08 00 45 00 RT....RT......E."


def test_a_short_last_line_keeps_its_ascii_in_the_same_column() -> None:
    first, last = hex_lines(b"a" * 16 + b"\x1b[2J\xe2\x80\xae")
    assert last.text().index(".[2J") == first.text().index("aaaa")
    assert (last.offset, last.ascii) == (16, ".[2J...")


@given(st.binary(max_size=200))
def test_a_hexdump_holds_every_byte_and_nothing_a_terminal_acts_on(data: bytes) -> None:
    lines = hex_lines(data)
    assert bytes.fromhex("".join("".join(line.hex) for line in lines)) == data
    assert all(line.text().isprintable() for line in lines)
