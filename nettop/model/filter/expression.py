"""The display-filter language: pcap-filter's common core plus nettop's own fields, evaluated over columns.

`and` and `or` bind equally and to the left, as in pcap-filter(7): `tcp or udp and port 53` is
`(tcp or udp) and port 53`. On flows and events `host`, `net` and `port` test all four endpoints, `src` and `dst` those
of the original tuple, `osrc odst rsrc rdst` the one they name; on packets both endpoints of the packet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from nettop.batch import Array
from nettop.model.filter.byte_nodes import Operation
from nettop.model.filter.fields import Endpoint, Fields, Mask
from nettop.model.filter.nodes import AndOr, Compare, FilterRows, Node, Not, Word
from nettop.model.filter.parser import FilterParser
from nettop.model.filter.vocabulary import KINDS, words

__all__ = ["KINDS", "Array", "Endpoint", "Fields", "Filter", "Mask", "parse", "words"]


@dataclass(frozen=True, slots=True, eq=False)
class Filter:
    """A parsed expression, independent of any table."""

    text: str
    node: Node = field(repr=False)
    _sources: Mapping[int, str] = field(repr=False)

    def mask(self, fields: Fields) -> Mask:
        """Return true for the rows that match: a boolean array of length fields.n."""
        return FilterRows(fields).evaluate(self.node)

    def source(self, node: Node) -> str:
        """Return the text from which a part of `node` was parsed; "" for a node inside such a part."""
        return self._sources.get(id(node), "")

    @property
    def columns(self) -> frozenset[str]:
        """The names of the columns that it tests: "rate", "process", "state"."""
        leaves = (leaf for leaf in _leaves(self.node) if isinstance(leaf, Compare | Word))
        return frozenset(leaf.name for leaf in leaves)

    @property
    def tests_bytes(self) -> bool:
        """Return whether it needs the bytes of packets, not only their columns."""
        return any(isinstance(leaf, Operation) for leaf in _leaves(self.node))


def _leaves(node: Node) -> Iterator[Node]:
    if isinstance(node, Not):
        yield from _leaves(node.node)
    elif isinstance(node, AndOr):
        for part in (node.first, *(other for _, other in node.rest)):
            yield from _leaves(part)
    else:
        yield node


def parse(text: str, kind: str) -> Filter | None:
    """Return the filter for rows of this kind; None for an empty text. Raises FilterError with a position."""
    if kind not in KINDS:
        raise ValueError(f"no rows of kind {kind!r}")
    if not text.strip():
        return None
    parser = FilterParser(text, kind)
    node = parser.parse()
    return Filter(text, node, parser.sources)
