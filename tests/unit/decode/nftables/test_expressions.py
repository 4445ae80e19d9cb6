"""Expressions of rules from bytes: what libnftnl prints, and what it would not survive."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nettop.decode.nftables.expressions import _WORDS, expression_lines
from tests.unit.decode.netlink_bytes import be, nla


def expression(name: str, *parts: bytes) -> bytes:
    return nla(1, nla(1, name.encode() + b"\0") + nla(2, b"".join(parts)))


SADDR = expression("payload", nla(1, be(4, 1)), nla(2, be(4, 1)), nla(3, be(4, 12)), nla(4, be(4, 4)))
EQUAL = expression("cmp", nla(1, be(4, 1)), nla(2, be(4, 0)), nla(3, nla(1, bytes((10, 0, 0, 1, 2, 3)))))
JUMP = expression("immediate", nla(1, be(4, 0)), nla(2, nla(2, nla(1, be(4, 0xFFFFFFFD)) + nla(2, b"lan\0"))))
COUNTER = expression("counter", nla(1, be(8, 300)), nla(2, be(8, 3)))


def test_lines_are_those_of_libnftnl() -> None:
    assert expression_lines(SADDR + EQUAL + COUNTER + JUMP + expression("notrack") + expression("new", b"")) == [
        "[ payload load 4b @ network header + 12 => reg 1 ]",
        "[ cmp eq reg 1 0x0100000a 0x00000302 ]",
        "[ counter pkts 3 bytes 300 ]",
        "[ immediate reg 0 jump -> lan ]",
        "[ notrack ]",
        "[ new ]",
    ]


def test_what_cannot_be_read_ends_the_lines_and_says_where() -> None:
    assert expression_lines(SADDR + b"\x09\0\1\0ab") == [
        "[ payload load 4b @ network header + 12 => reg 1 ]",
        f"[ unreadable from byte {len(SADDR)} on ]",
    ]
    meta = expression("meta", nla(1, be(4, 1)), nla(2, be(4, 99)))
    assert expression_lines(meta) == ["[ meta load unknown (99) => reg 1 ]"]


NAMES = st.sampled_from([*_WORDS])


@given(st.lists(st.tuples(NAMES, st.lists(st.tuples(st.integers(0, 12), st.binary(max_size=12)), max_size=8))))
def test_any_bytes_have_lines(found: list[tuple[str, list[tuple[int, bytes]]]]) -> None:
    raw = b"".join(expression(name, *(nla(kind, data) for kind, data in parts)) for name, parts in found)
    assert len(expression_lines(raw)) <= len(found) + 1


@given(st.binary(max_size=100))
def test_random_bytes_have_lines(raw: bytes) -> None:
    expression_lines(raw)
