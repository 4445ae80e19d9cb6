"""The index finds what was put in, and nothing else, whatever is inserted and removed in whatever order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nettop.model.flows.index import FlowIndex, KeyHash
from tests.profiles import examples

# Few hashes for many keys: whole chains of probes, and equal hashes of different keys.
OPERATIONS = st.lists(
    st.tuples(st.sampled_from(("insert", "remove", "find")), st.lists(st.integers(0, 60), max_size=30, unique=True)),
    max_size=30,
)


class Oracle:
    """An index beside a dict from key to row. Row numbers are never used twice at the same time."""

    def __init__(self, buckets: int) -> None:
        self.index, self.rows, self.buckets = FlowIndex(), {}, buckets  # type: ignore[var-annotated]
        self.keys = np.full(4096, -1, np.int64)
        self.hashes = np.zeros(4096, np.uint64)
        self.free = iter(range(4096))

    def hash(self, keys: list[int]) -> np.ndarray:
        # Multiples of the table's size: they all want the same place.
        return (np.array(keys, np.uint64) % np.uint64(self.buckets)) * np.uint64(1 << 40)

    def find(self, keys: list[int]) -> list[int]:
        asked = np.array(keys, np.int64)
        found = self.index.find(self.hash(keys), self.hashes, lambda rows, at: self.keys[rows] == asked[at])
        return found.tolist()

    def insert(self, keys: list[int]) -> None:
        new = [key for key in keys if key not in self.rows]
        rows = np.array([next(self.free) for _ in new], np.intp)
        self.keys[rows], self.hashes[rows] = new, self.hash(new)
        self.index.reserve(len(new), self.hashes, lambda: np.array(sorted(self.rows.values()), np.intp))
        self.index.insert(self.hash(new), rows)
        self.rows |= dict(zip(new, rows.tolist(), strict=True))

    def remove(self, keys: list[int]) -> None:
        old = [key for key in keys if key in self.rows]
        self.index.remove(self.hash(old), np.array([self.rows.pop(key) for key in old], np.intp))


@settings(max_examples=examples(300))
@given(OPERATIONS, st.sampled_from((1, 3, 1000)))
def test_the_index_agrees_with_a_dict(operations: list[tuple[str, list[int]]], buckets: int) -> None:
    oracle = Oracle(buckets)
    for what, keys in operations:
        if what == "insert":
            oracle.insert(keys)
        elif what == "remove":
            oracle.remove(keys)
        everything = list(range(61))
        assert oracle.find(everything) == [oracle.rows.get(key, -1) for key in everything]
        assert len(oracle.index) == len(oracle.rows)


def test_tombstones_of_long_churn_are_cleared_away() -> None:
    oracle = Oracle(1000)
    oracle.keys, oracle.hashes, oracle.free = np.full(10**6, -1), np.zeros(10**6, np.uint64), iter(range(10**6))
    for round_ in range(400):
        keys = list(range(round_ * 100, round_ * 100 + 100))
        oracle.insert(keys)
        oracle.remove(keys[:99])
    assert oracle.index._slots.nbytes <= 4 * 4096
    assert oracle.find(list(oracle.rows)) == list(oracle.rows.values())


def random_bits(seed: int) -> Iterator[int]:
    rng = np.random.default_rng(seed)
    while True:
        yield int(rng.integers(0, 1 << 63)) << 1 | int(rng.integers(0, 2))


def seeded(seed: int) -> KeyHash:
    bits = random_bits(seed)
    return KeyHash(lambda _: next(bits))


def columns(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    i = np.arange(n, dtype=np.uint64)
    return i % np.uint64(65536), np.full(n, 0x0A000001, np.uint64), np.uint64(0x0A800000) + i // np.uint64(65536)


def test_a_million_neighbouring_keys_have_different_hashes_and_spread_evenly() -> None:
    hashes = seeded(1)(0, *columns(1_000_000), None)
    assert len(np.unique(hashes)) == 1_000_000
    fill = np.bincount((hashes & np.uint64(1023)).astype(np.intp), minlength=1024)
    assert fill.min() > 750 and fill.max() < 1250


def test_hashes_depend_on_the_seed_and_the_namespace() -> None:
    args = columns(10)
    assert not np.intersect1d(seeded(1)(0, *args, None), seeded(2)(0, *args, None)).size
    assert not np.intersect1d(seeded(1)(0, *args, None), seeded(1)(1, *args, None)).size


@pytest.mark.parametrize("netns", [0, 1, 65535])
def test_an_ipv4_key_hashes_the_same_beside_ipv6_rows(netns: int) -> None:
    args = columns(10)
    zeros = np.zeros(10, np.uint64)
    assert (seeded(3)(netns, *args, None) == seeded(3)(netns, *args, (zeros, zeros))).all()
