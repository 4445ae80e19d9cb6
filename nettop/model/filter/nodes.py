"""The nodes of a parsed filter: each computes a mask from columns."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

import numpy as np

from nettop.batch import Array
from nettop.linux.inet import WITH_PORTS
from nettop.linux.packet import ETH_P_ARP, ETH_P_RARP
from nettop.linux.socket import AF_INET, AF_INET6
from nettop.model.filter.fields import Endpoint, Fields, Mask
from nettop.model.filter.values import Net

_LOW = (1 << 64) - 1
_SHARED = frozenset(("family", "proto", "ethertype"))  # columns that many nodes compare with the same values
COMPARE: dict[str, Callable[[Array, Array | int | float], Mask]] = {
    "<": operator.lt, "<=": operator.le, "=": operator.eq, "==": operator.eq, "!=": operator.ne, ">": operator.gt,
    ">=": operator.ge,
}  # fmt: skip


class FilterRows:
    """The columns of one evaluation, and a cache of masks that several nodes need."""

    __slots__ = ("_cache", "_pending", "_rejected", "fields", "n")

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.n = fields.n
        self._cache: dict[str, Mask] = {}
        self._pending: Mask | None = None  # the rows that the terms so far have not decided; None: all
        self._rejected: Mask | None = None

    def evaluate(self, node: Node) -> Mask:
        """Return the mask of the whole filter: without the rows that it rejects."""
        mask = node.mask(self)
        return mask if self._rejected is None else mask & ~self._rejected

    def undecided(self, pending: Mask, node: Node) -> Mask:
        """Return the mask of a node that only the rows of `pending` still depend on."""
        before = self._pending
        self._pending = pending if before is None else pending & before
        mask = node.mask(self)
        self._pending = before
        return mask

    def reject(self, rows: Mask) -> None:
        """Reject rows regardless of the rest of the filter, as BPF does where a byte to test was not captured."""
        rows = rows if self._pending is None else rows & self._pending
        if rows.any():
            self._rejected = rows if self._rejected is None else rows | self._rejected

    def none(self) -> Mask:
        """Return a mask without any row."""
        return np.zeros(self.n, np.bool_)

    def equal(self, name: str, value: int) -> Mask:
        """Return a mask of the rows whose column is present and has this value."""
        return self._cached(f"{name} {value}", lambda: self._tested(name, lambda column: column == value))

    def present(self, name: str, mask: Mask) -> Mask:
        """Return the mask without the rows where the column is absent."""
        there = self.fields.present(name)
        return mask if there is None else mask & there

    def addressed(self, family: int) -> Mask:
        """Return a mask of the rows with addresses of this family; those of ARP and RARP are IPv4."""
        if family != AF_INET:
            return self.equal("family", family)
        terms = ("family", AF_INET), ("ethertype", ETH_P_ARP), ("ethertype", ETH_P_RARP)
        return self._cached("v4", lambda: reduce(operator.or_, (self.equal(*term) for term in terms)))

    def ported(self) -> Mask:
        """Return a mask of the rows whose protocol has ports."""
        return self._cached("ported", lambda: self._tested("proto", lambda proto: np.isin(proto, WITH_PORTS)))

    def _cached(self, key: str, make: Callable[[], Mask]) -> Mask:
        if key not in self._cache:
            self._cache[key] = make()
        return self._cache[key]

    def _tested(self, name: str, test: Callable[[Array], Mask]) -> Mask:
        column = self.fields.number(name)
        return self.none() if column is None else self.present(name, test(column))


class Node(Protocol):
    """A part of a filter."""

    def mask(self, rows: FilterRows) -> Mask:
        """Return True for the rows that match. The caller must not write to the array."""


@dataclass(frozen=True, slots=True)
class Not:
    """The rows that a node does not match."""

    node: Node

    def mask(self, rows: FilterRows) -> Mask:
        """Return the inverted mask of the node."""
        return ~self.node.mask(rows)


@dataclass(frozen=True, slots=True)
class AndOr:
    """`and` and `or` bind equally and to the left, as in pcap-filter(7)."""

    first: Node
    rest: tuple[tuple[str, Node], ...]

    def mask(self, rows: FilterRows) -> Mask:
        """Return the mask of the terms combined."""
        result = self.first.mask(rows)
        for word, node in self.rest:
            if word == "and":
                result = result & rows.undecided(result, node) if result.any() else result
            else:
                result = result | rows.undecided(~result, node)
        return result


class _EndTest(Protocol):
    def test(self, rows: FilterRows, end: Endpoint) -> Mask: ...


@dataclass(frozen=True, slots=True)
class At:
    """A test of endpoints: at least one of all sides matches; with `every`, at least one of each side."""

    test: _EndTest
    sides: tuple[str, ...]
    every: bool = False

    def mask(self, rows: FilterRows) -> Mask:
        """Return the rows with matching endpoints."""
        return reduce(operator.and_ if self.every else operator.or_, (self._side(rows, side) for side in self.sides))

    def _side(self, rows: FilterRows, side: str) -> Mask:
        result = rows.none()
        for end in rows.fields.endpoints(side):
            result |= self.test.test(rows, end)
        return result


@dataclass(frozen=True, slots=True)
class InNet:
    """The address of an endpoint is in a network."""

    net: Net

    def test(self, rows: FilterRows, end: Endpoint) -> Mask:
        """Return the rows whose endpoint is in the network."""
        mask = rows.addressed(self.net.family)
        if self.net.family == AF_INET6:
            if end.hi is None:
                return rows.none()
            mask = mask & _bits_equal(end.hi, self.net.address >> 64, self.net.mask >> 64)
        return mask & _bits_equal(end.lo, self.net.address & _LOW, self.net.mask & _LOW)


@dataclass(frozen=True, slots=True)
class InPorts:
    """The port of an endpoint is in a range, both ends included."""

    first: int
    last: int

    def test(self, rows: FilterRows, end: Endpoint) -> Mask:
        """Return the rows whose endpoint has such a port."""
        if end.port is None:
            return rows.none()
        mask: Mask = np.asarray(end.port == self.first)
        if self.last != self.first:
            mask = (end.port >= self.first) & (end.port <= self.last)
        return mask & (rows.ported() if end.has_port is None else end.has_port)


@dataclass(frozen=True, slots=True)
class Both:
    """An address and a port of the same endpoint."""

    one: _EndTest
    other: _EndTest

    def test(self, rows: FilterRows, end: Endpoint) -> Mask:
        """Return the rows whose endpoint matches both tests."""
        return self.one.test(rows, end) & self.other.test(rows, end)


@dataclass(frozen=True, slots=True)
class Present:
    """A column has a value."""

    name: str

    def mask(self, rows: FilterRows) -> Mask:
        """Return the rows with any value."""
        return rows.present(self.name, ~rows.none())


@dataclass(frozen=True, slots=True)
class Compare:
    """A column compared with a number, after masking. An absent value is `default`, or matches nothing."""

    name: str
    operator: str
    value: int | float
    bits: int = _LOW
    default: int | None = None

    def mask(self, rows: FilterRows) -> Mask:
        """Return the rows for which the comparison is true."""
        if self.operator == "=" and self.name in _SHARED:
            return rows.equal(self.name, int(self.value))
        column = rows.fields.number(self.name)
        compare = COMPARE[self.operator]
        if column is None:
            absent = self.default is not None and bool(compare(np.array([self.default]), self.value)[0])
            return np.full(rows.n, absent)
        if self.bits != _LOW:
            column = column.astype(np.uint64) & np.uint64(self.bits)
        mask = compare(column, self.value)
        there = rows.fields.present(self.name)
        if there is None:
            return mask
        if self.default is None:
            return mask & there
        return np.where(there, mask, compare(np.array([self.default]), self.value))


@dataclass(frozen=True, slots=True)
class Word:
    """A column of words that pass a test, which was made of `pattern`."""

    name: str
    test: Callable[[str], object]
    pattern: str = ""

    def mask(self, rows: FilterRows) -> Mask:
        """Return the rows with a matching word."""
        found = rows.fields.words(self.name)
        if found is None:
            return rows.none()
        codes, words = found
        matching = np.fromiter((self._any(word) for word in words), np.bool_, len(words))
        if not matching.any():
            return rows.none()
        return rows.present(self.name, matching[codes])

    def _any(self, words: str) -> bool:
        return any(word and self.test(word) for word in words.split("\0"))


def equal(name: str, value: int) -> Compare:
    """Return the node of a column that has this value."""
    return Compare(name, "=", value)


def every(nodes: Sequence[Node]) -> Node:
    """Return the node of the rows that match all of them."""
    return nodes[0] if len(nodes) == 1 else AndOr(nodes[0], tuple(("and", node) for node in nodes[1:]))


def _bits_equal(column: Array, value: int, mask: int) -> Mask:
    """Compare the bits under the mask with a value. The column is uint64 (IPv4: its low 32 bits)."""
    if mask == 0:
        return np.ones(len(column), np.bool_)
    if mask not in (_LOW, 0xFFFFFFFF):
        column = column & np.uint64(mask)
    return np.asarray(column == value)
