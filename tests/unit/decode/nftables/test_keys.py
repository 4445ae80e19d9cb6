"""Keys of sets in nft's words; what does not fit its type stays hexadecimal."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nettop.decode.nftables.keys import key_text, type_text

IP4, IP6, ETHER, PROTO, PORT, MARK, STATE, IFNAME = 7, 8, 9, 12, 13, 19, 26, 41


def of(*types: int) -> int:
    number = 0
    for kind in types:
        number = number << 6 | kind
    return number


@pytest.mark.parametrize(
    ("kind", "key", "words"),
    [
        (IP4, bytes([10, 0, 3, 7]), "10.0.3.7"),
        (IP6, bytes.fromhex("fe80" + "00" * 13 + "01"), "fe80::1"),
        (ETHER, bytes.fromhex("020000000001"), "02:00:00:00:00:01"),
        (PROTO, b"\x06", "tcp"),
        (PROTO, b"\xfd", "253"),
        (PORT, b"\x01\xbb", "443"),
        (MARK, (7).to_bytes(4, sys.byteorder), "0x00000007"),
        (STATE, (10).to_bytes(4, sys.byteorder), "established,new"),
        (IFNAME, b"eth0".ljust(16, b"\0"), "eth0"),
        (IFNAME, b"\xff\x1b".ljust(16, b"\0"), "\\xff\x1b"),
        (of(IP4, PORT), bytes([1, 2, 3, 4, 0, 80, 0, 0]), "1.2.3.4 . 80"),
        (of(IP4, PROTO, PORT), bytes([10, 0, 0, 0, 6, 0, 0, 0, 0, 80, 0, 0]), "10.0.0.0 . tcp . 80"),
        (IP4, b"\1\2\3", "0x010203"),
        (of(IP4, PORT), b"\1\2\3\4", "0x01020304"),
        (63, b"\1\2", "0x0102"),
        (0, b"\1\2", "0x0102"),
        (IP4, b"", "0x"),
        (of(IP4, 4), bytes(8), "0x0000000000000000"),
    ],
)  # fmt: skip
def test_keys_read_as_nft_writes_them(kind: int, key: bytes, words: str) -> None:
    assert key_text(kind, key) == words


@pytest.mark.parametrize(
    ("kind", "first", "last", "words"),
    [
        (IP4, bytes([10, 0, 0, 0]), bytes([10, 255, 255, 255]), "10.0.0.0/8"),
        (IP4, bytes([10, 0, 0, 1]), bytes([10, 0, 0, 7]), "10.0.0.1-10.0.0.7"),
        (IP4, bytes([10, 0, 0, 1]), bytes([10, 0, 0, 1]), "10.0.0.1"),
        (IP6, bytes.fromhex("fd" + "00" * 15), bytes.fromhex("fd" + "ff" * 15), "fd00::/8"),
        (PORT, b"\0\x50", b"\0\x5a", "80-90"),
        (IP4, bytes([10, 0, 0, 9]), bytes([10, 0, 0, 1]), "10.0.0.9-10.0.0.1"),
        (of(IP4, PROTO, PORT), bytes([10, 0, 0, 0, 6, 0, 0, 0, 0, 80, 0, 0]),
         bytes([10, 255, 255, 255, 6, 0, 0, 0, 0, 90, 0, 0]), "10.0.0.0/8 . tcp . 80-90"),
        (63, b"\1", b"\2", "0x01-0x02"),
    ],
)  # fmt: skip
def test_ranges_and_prefixes_read_as_nft_writes_them(kind: int, first: bytes, last: bytes, words: str) -> None:
    assert key_text(kind, first, last) == words


def test_types_have_nfts_names() -> None:
    assert type_text(of(IP4, PROTO, PORT)) == "ipv4_addr . inet_proto . inet_service"
    assert type_text(of(IP4, 63)) == "ipv4_addr . type 63"


@given(st.integers(-5, 2**32 - 1), st.binary(max_size=40), st.none() | st.binary(max_size=40))
def test_any_key_has_words(kind: int, key: bytes, end: bytes | None) -> None:
    assert key_text(kind, key, end)
    type_text(kind)
