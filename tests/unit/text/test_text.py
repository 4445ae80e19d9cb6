"""Units fit their columns, and nothing from outside reaches the terminal raw."""

from __future__ import annotations

import ipaddress
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nettop.linux.socket import AF_INET6
from nettop.text import address, sanitize, units


@given(st.text())
def test_clean_text_is_one_printable_line(text: str) -> None:
    cleaned = sanitize.clean(text)
    assert len(cleaned.splitlines()) <= 1
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in cleaned)
    assert not set(cleaned) & set("\u202e\u2066\u200b\u2028\ufeff")


@given(st.binary())
def test_bytes_that_are_no_text_are_escaped(data: bytes) -> None:
    cleaned = sanitize.clean_bytes(data)
    cleaned.encode()
    assert "\x1b" not in cleaned


def test_an_escape_sequence_is_shown_not_obeyed() -> None:
    assert sanitize.clean("eth0\x1b]0;owned\x07") == "eth0\\x1b]0;owned\\x07"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0"), (0.25, "0.2"), (999, "999"), (1000, "1.0k"), (1234, "1.2k"), (84_100_000, "84.1M")],
)
def test_scaled_steps(value: float | None, text: str) -> None:
    assert units.scaled(value) == text


@pytest.mark.parametrize(("value", "text"), [(310_000, "310k"), (99_960, "100k"), (999_600, "1.0M"), (1e15, "1.0P")])
def test_scaled_rounds_up_to_the_next_step(value: float, text: str) -> None:
    assert units.scaled(value) == text


@given(st.floats(0, 1e17, allow_nan=False))
def test_scaled_fits_five_columns(value: float) -> None:
    assert len(units.scaled(value)) <= 5


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (41, "41s"), (64, "1m04"), (15_120, "4h12"), (428_400, "4d23h"), (27_000_000, "312d"), (-3, "0s")],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert units.duration(seconds) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0%"),
        (0.0004, "<0.1%"),
        (0.001, "0.1%"),
        (0.123, "12.3%"),
        (0.9994, "99.9%"),
        (0.9996, "100%"),
        (1.5, "150%"),
    ],
)
def test_percent(share: float, text: str) -> None:
    assert units.percent(share) == text


def test_sparkline_scales_to_its_largest() -> None:
    assert units.sparkline([0, 1, 4, 8]) == " ▁▄█"
    assert units.sparkline([0, 0]) == "  "


@given(st.ip_addresses(v=4))
def test_ipv4(value: ipaddress.IPv4Address) -> None:
    assert address.address_text(address.AF_INET, 0, int(value)) == str(value)


@given(st.ip_addresses(v=6), st.integers(0, 65535))
def test_ipv6_with_a_port(value: ipaddress.IPv6Address, port: int) -> None:
    whole = int(value)
    text = address.endpoint_text(AF_INET6, whole >> 64, whole & (1 << 64) - 1, port)
    assert text == f"[{value}]:{port}"


def test_a_character_that_python_calls_printable_needs_no_escape() -> None:
    """Text that str.isprintable accepts is returned as it is."""
    assert [c for c in map(chr, range(sys.maxunicode + 1)) if c.isprintable() and sanitize._UNSAFE.match(c)] == []


@pytest.mark.parametrize("ts_ns", [10**26, -(10**26), 10**40])
def test_a_time_that_there_cannot_be_is_no_error(ts_ns: int) -> None:
    assert units.clock(ts_ns, 6) == "??:??:??"
