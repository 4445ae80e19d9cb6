"""Which elements of a set hold an address: by comparison with Python's own numbers."""

from __future__ import annotations

from ipaddress import IPv4Address

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nettop.decode.nftables.elements import NEVER, Elements
from nettop.decode.nftables.members import closed
from nettop.decode.nftables.sets import NftSet
from nettop.errors import UsageError
from nettop.model.ruleset.sets.membership import holding, question


def elements_of(keys: list[bytes], ends: list[bytes], flags: list[int]) -> Elements:
    count = len(keys)
    first, last = (np.frombuffer(b"".join(part), np.uint8).reshape(count, -1) for part in (keys, ends))
    zeros = np.zeros(count, np.uint64)
    return Elements(first, last, np.array(flags, np.uint32), zeros > 0, zeros, zeros, np.full(count, NEVER))


def set_of(flags: int, key_type: int = 7) -> NftSet:
    return NftSet("ip", "t", "s", 1, flags, key_type, 4, "", None, None, None, False, None)


@given(
    bounds=st.lists(st.integers(0, 300), min_size=2, max_size=12, unique=True).filter(
        lambda found: len(found) % 2 == 0
    ),
    address=st.integers(0, 301),
)
def test_an_interval_holds_what_lies_between_its_ends(bounds: list[int], address: int) -> None:
    """The kernel lists the end of an interval (one past its last address), then its start, the highest first."""
    descending = sorted(bounds, reverse=True)
    keys = [number.to_bytes(4, "big") for number in descending]
    found = closed(set_of(4), elements_of(keys, keys, [1, 0] * (len(keys) // 2)))
    spans = list(zip(descending[1::2], descending[::2], strict=True))
    held = holding(question(str(IPv4Address(address))), set_of(4), found)
    assert held[1::2].tolist() == [first <= address < over for first, over in spans]
    assert not held[::2].any()


@given(
    st.lists(st.tuples(*[st.integers(0, 5)] * 4), min_size=1, max_size=6),
    st.integers(0, 6),
    st.integers(0, 6),
)
def test_each_part_of_a_concatenation_has_its_own_range(rows: list[tuple[int, ...]], address: int, port: int) -> None:
    def key(one: int, other: int) -> bytes:
        return one.to_bytes(4, "big") + other.to_bytes(2, "big") + b"\0\0"

    of = set_of(4 | 128, 7 << 6 | 13)
    found = elements_of([key(a, p) for a, p, _, _ in rows], [key(b, q) for _, _, b, q in rows], [0] * len(rows))
    asked = f"{IPv4Address(address)} . {port}"
    expected = [a <= address <= b and p <= port <= q for a, p, b, q in rows]
    assert holding(question(asked), of, closed(of, found)).tolist() == expected
    assert holding(question(str(IPv4Address(address))), of, found).tolist() == [
        a <= address <= b for a, _, b, _ in rows
    ]


def test_a_catch_all_holds_everything_and_a_set_of_names_no_address() -> None:
    one = elements_of([b"\0\0\0\0"], [b"\0\0\0\0"], [2])
    assert holding(question("10.0.0.1"), set_of(0), one).all()
    names = elements_of([b"eth0".ljust(16, b"\0")], [b"eth0".ljust(16, b"\0")], [0])
    assert not holding(question("10.0.0.1"), set_of(0, 41), names).any()


@pytest.mark.parametrize("text", ["", "x", "10.0.0.1 10.0.0.2", "10.0.0.1,", "70000", "10.0.0.300", "\x1b[31m", "²"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        question(text)
