"""Units fit their columns, and nothing from outside reaches the terminal raw."""

from __future__ import annotations

import ipaddress
import sys
import unicodedata

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


@given(st.text())
def test_clean_text_stays_as_it_is(text: str) -> None:
    assert sanitize.clean(sanitize.clean(text)) == sanitize.clean(text)


@given(st.text())
def test_no_character_is_invisible_reorders_or_piles_up(text: str) -> None:
    cleaned = sanitize.clean(text)
    assert not {unicodedata.bidirectional(c) for c in cleaned} & {"R", "AL", "AN"}
    assert not {unicodedata.category(c) for c in cleaned} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert "".join("m" if unicodedata.category(c) in {"Mn", "Me"} else "." for c in cleaned).find("m" * 5) < 0


def test_every_character_of_unicode_is_shown_or_escaped() -> None:
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        kind, direction = unicodedata.category(character), unicodedata.bidirectional(character)
        if kind in {"Cc", "Cf", "Cs", "Zl", "Zp"} or direction in {"R", "AL", "AN"}:
            assert sanitize.clean(character).startswith("\\"), hex(code)


@pytest.mark.parametrize("code", [0x34F, 0x115F, 0x1160, 0x17B4, 0x180B, 0x2800, 0x3164, 0xFE0F, 0xFFA0, 0xE0100])
def test_a_filler_or_a_variation_selector_is_shown(code: int) -> None:
    assert sanitize.clean(f"a{chr(code)}b") == (f"a\\u{code:04x}b" if code < 0x10000 else f"a\\U{code:08x}b")


def test_text_from_right_to_left_does_not_move_its_neighbours() -> None:
    assert sanitize.clean("web \u05d0\u05d1 443") == "web \\u05d0\\u05d1 443"


def test_marks_do_not_pile_up_but_words_keep_theirs() -> None:
    assert sanitize.clean("Việt Nam, ภาษาไทย, e\u0301") == "Việt Nam, ภาษาไทย, e\u0301"
    assert sanitize.clean("a" + "\u0301" * 6) == "a" + "\u0301" * 4 + "\\u0301" * 2


@given(st.binary())
def test_bytes_that_are_no_text_are_escaped(data: bytes) -> None:
    cleaned = sanitize.clean_bytes(data)
    cleaned.encode()
    assert "\x1b" not in cleaned


def test_an_escape_sequence_is_shown_not_obeyed() -> None:
    assert sanitize.clean("eth0\x1b]0;owned\x07") == "eth0\\x1b]0;owned\\x07"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (0.25, "0.2"),
        (9.94, "9.9"),
        (9.97, "10"),
        (999, "999"),
        (1000, "1.0k"),
        (1234, "1.2k"),
        (84_100_000, "84.1M"),
        (2**64 - 1, "18.4E"),
    ],
)
def test_scaled_steps(value: float | None, text: str) -> None:
    assert units.scaled(value) == text


@pytest.mark.parametrize(("value", "text"), [(310_000, "310k"), (99_960, "100k"), (999_600, "1.0M"), (1e15, "1.0P")])
def test_scaled_rounds_up_to_the_next_step(value: float, text: str) -> None:
    assert units.scaled(value) == text


@given(st.floats(0, 2.0**64, allow_nan=False))
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


@pytest.mark.parametrize("ts_ns", [10**26, -(10**26), 10**40])
def test_a_time_that_there_cannot_be_is_no_error(ts_ns: int) -> None:
    assert units.clock(ts_ns, 6) == "??:??:??"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((n, "5d00h") for n in (432_000, 431_999, 431_990, 430_300)),
        *((n, "1d00h") for n in (86_400, 86_399, 86_390)),
        *((n, "5h00") for n in (18_000, 17_999)),
        *((60, "1m00"), (59, "59s"), (3_599, "59m59"), (None, "–"), (0, "0s"), (-3, "0s"), (27_000_000, "313d")),
    ],
)
def test_a_timeout_that_is_renewed_again_and_again_has_one_text(seconds: float | None, text: str) -> None:
    assert units.remaining(seconds) == text


def test_names_are_listed_up_to_a_number_and_more_are_said() -> None:
    names = [str(number) for number in range(11)]
    assert units.listed(names[:10]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    assert units.listed(names) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …" and units.listed(names, 1) == "0, …"
