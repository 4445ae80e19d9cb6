"""The display-filter language: pcap-filter's common core plus nettop's own fields, evaluated over columns.

`and` and `or` bind equally and to the left, as pcap-filter(7) has it: `tcp or udp and port 53` is
`(tcp or udp) and port 53`. On flows and events `host`, `net` and `port` look at all four endpoints, `src` and `dst` at
the original tuple, `osrc odst rsrc rdst` at the one they name; on packets at the packet's two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nettop.batch import Array
from nettop.model.filter.fields import Endpoint, Fields, Mask
from nettop.model.filter.nodes import Bits, Chain, Compare, Equal, Node, Not, Rows, Word
from nettop.model.filter.parser import Parser
from nettop.model.filter.vocabulary import KINDS, words

__all__ = ["KINDS", "Array", "Endpoint", "Fields", "Filter", "Mask", "parse", "words"]


class Filter:
    """A parsed expression: immutable, and free of any table."""

    __slots__ = ("_sources", "kind", "node", "text")

    def __init__(self, text: str, kind: str, node: Node, sources: Mapping[int, str]) -> None:
        self.text = text
        self.kind = kind
        self.node = node
        self._sources = sources

    def mask(self, fields: Fields) -> Mask:
        """True for the rows that match: a boolean array of length fields.n."""
        return self.node.mask(Rows(fields))

    def source(self, node: Node) -> str:
        """The text that a part of `node` was read from; "" for what is only a piece of such a part."""
        return self._sources.get(id(node), "")

    @property
    def columns(self) -> frozenset[str]:
        """The columns that it asks for by name: "rate", "process", "state"."""
        return frozenset(_columns(self.node))

    def __repr__(self) -> str:
        return f"Filter({self.text!r}, {self.kind!r})"


def _columns(node: Node) -> Iterator[str]:
    if isinstance(node, Not):
        yield from _columns(node.node)
    elif isinstance(node, Chain):
        for part in (node.first, *(other for _, other in node.rest)):
            yield from _columns(part)
    elif isinstance(node, Equal | Compare | Bits | Word):
        yield node.name


def parse(text: str, kind: str) -> Filter | None:
    """The filter that text describes for rows of this kind; None for an empty text. FilterError with a position."""
    if kind not in KINDS:
        raise ValueError(f"no rows of kind {kind!r}")
    if not text.strip():
        return None
    parser = Parser(text, kind)
    node = parser.parse()
    return Filter(text, kind, node, parser.sources)
