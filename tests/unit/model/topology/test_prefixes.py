"""Longest-prefix match in bulk says what the standard library says prefix by prefix."""

from __future__ import annotations

import ipaddress

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nettop.model.topology.prefixes import NONE, PrefixTable

# Addresses close to one another, so that prefixes nest and touch; some at both ends of the space.
V4 = st.one_of(st.integers(0, 40), st.integers((1 << 32) - 20, (1 << 32) - 1), st.integers(0, (1 << 32) - 1))
HALVES = st.sampled_from((0, 1, 0xFD00 << 48, (1 << 64) - 1))
V6 = st.builds(lambda hi, lo: hi << 64 | lo, HALVES, st.one_of(st.integers(0, 20), HALVES))


def expected(prefixes: list[tuple[int, int]], width: int, address: int) -> int:
    best, found = -1, NONE
    for value, (network, length) in enumerate(prefixes):
        span = width - length
        if network >> span == address >> span and length > best:
            best, found = length, value
    return found


@given(st.lists(st.tuples(V4, st.integers(0, 32)), max_size=12), st.lists(V4, min_size=1, max_size=40))
def test_ipv4_addresses_find_their_longest_prefix(prefixes: list[tuple[int, int]], asked: list[int]) -> None:
    table = PrefixTable([(a, length, i) for i, (a, length) in enumerate(prefixes)], 32)
    found = table.find(None, np.array(asked, np.uint64)).tolist()
    assert found == [expected(prefixes, 32, address) for address in asked]


@given(st.lists(st.tuples(V6, st.integers(0, 128)), max_size=12), st.lists(V6, min_size=1, max_size=40))
def test_ipv6_addresses_find_their_longest_prefix(prefixes: list[tuple[int, int]], asked: list[int]) -> None:
    table = PrefixTable([(a, length, i) for i, (a, length) in enumerate(prefixes)], 128)
    hi, lo = (
        np.array([part(a) for a in asked], np.uint64) for part in (lambda a: a >> 64, lambda a: a & (1 << 64) - 1)
    )
    assert table.find(hi, lo).tolist() == [expected(prefixes, 128, address) for address in asked]


def test_a_host_route_inside_a_network_inside_the_default() -> None:
    prefixes = [("0.0.0.0/0", 0), ("10.0.0.0/8", 1), ("10.1.2.3/32", 2), ("10.1.2.0/24", 3)]
    parsed = [(ipaddress.ip_network(text), value) for text, value in prefixes]
    table = PrefixTable([(int(net.network_address), net.prefixlen, value) for net, value in parsed], 32)
    asked = [int(ipaddress.ip_address(text)) for text in ("8.8.8.8", "10.9.9.9", "10.1.2.3", "10.1.2.4", "11.0.0.0")]
    assert table.find(None, np.array(asked, np.uint64)).tolist() == [0, 1, 2, 3, 0]
