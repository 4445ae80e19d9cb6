"""The display-filter language: pcap-filter's common core plus nettop's own fields, evaluated over columns.

`and` and `or` bind equally and to the left, as pcap-filter(7) has it: `tcp or udp and port 53` is
`(tcp or udp) and port 53`. On flows and events `host`, `net` and `port` look at all four endpoints, `src` and `dst` at
the original tuple, `osrc odst rsrc rdst` at the one they name; on packets at the packet's two.
"""

from __future__ import annotations

from nettop.model.filter_fields import Array, Endpoint, Fields, Mask
from nettop.model.filter_nodes import Node, Rows
from nettop.model.filter_parser import Parser
from nettop.model.filter_words import KINDS, words

__all__ = ["KINDS", "Array", "Endpoint", "Fields", "Filter", "Mask", "parse", "words"]


class Filter:
    """A parsed expression: immutable, and free of any table."""

    __slots__ = ("_node", "kind", "text")

    def __init__(self, text: str, kind: str, node: Node) -> None:
        self.text = text
        self.kind = kind
        self._node = node

    def mask(self, fields: Fields) -> Mask:
        """True for the rows that match: a boolean array of length fields.n."""
        return self._node.mask(Rows(fields))

    def __repr__(self) -> str:
        return f"Filter({self.text!r}, {self.kind!r})"


def parse(text: str, kind: str) -> Filter | None:
    """The filter that text describes for rows of this kind; None for an empty text. FilterError with a position."""
    if kind not in KINDS:
        raise ValueError(f"no rows of kind {kind!r}")
    return Filter(text, kind, Parser(text, kind).parse()) if text.strip() else None
