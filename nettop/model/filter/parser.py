"""The parser of the filter language: tokens to nodes, or an error with its position.

expression = term { ("and" | "or") term }          equal precedence, to the left, as in pcap-filter(7)
term       = { "not" } ( "(" expression ")" | primitive )
primitive  = protocol [ endpoint ] | "ether" [ direction ] [ "host" ] MAC | endpoint | field | shorthand | relation
endpoint   = [ direction ] [ "host" | "net" | "port" | "portrange" ] ( value | "(" expression ")" )
shorthand  = address | network | ":" port | address ":" port | value (of the primitive before: `port 80 or 443`)
relation: see byte_parser
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from nettop.errors import FilterError
from nettop.model.filter import field_nodes, values, vocabulary
from nettop.model.filter.byte_nodes import GROUPS, HEADERS, LABELS, ethertype_node, mac_node
from nettop.model.filter.byte_parser import CONSTANTS, ByteTestError, header_at, read_relation
from nettop.model.filter.field_nodes import Qualifiers
from nettop.model.filter.lexer import FilterToken, meaningless, refusal, tokens
from nettop.model.filter.nodes import AndOr, At, Compare, InNet, Node, Not, Present, equal, every
from nettop.model.filter.refusals import foreign_word, missing, not_compared, unexpected_word, unknown_word, with_commas

MAX_DEPTH = 100  # parentheses within parentheses
_T = TypeVar("_T")
_NOT = frozenset(("not", "!"))


@dataclass(frozen=True, slots=True)
class Expected:
    """The words, and the types of values (a field's word, "host", "port"), that may follow the end of the text."""

    words: dict[str, None] = field(default_factory=dict)  # in the order in which the parser tries them
    values: dict[str, None] = field(default_factory=dict)


class FilterParser:
    """The parser of one expression, in one pass. `expected` is what may follow the end of the text."""

    def __init__(self, text: str, kind: str) -> None:
        self._text = text
        self._kind = kind
        self._tokens = tokens(text)
        self._at = 0
        self.expected = Expected()
        self.sources: dict[int, str] = {}  # id of a node → its text
        self._last: Qualifiers | str | None = None  # the owner of a following value without a keyword; str: a field

    def parse(self) -> Node:
        """Return the node of the whole expression. Raises FilterError with the position of the first error."""
        node = self._expression(0)
        if self._now.kind != "end":
            raise self._unexpected_after()
        return node

    def _expression(self, depth: int) -> Node:
        first = self._term(depth)
        rest: list[tuple[str, Node]] = []
        self._expects(vocabulary.JOINTS)
        while (word := self._joint()) is not None:
            self._advance()
            rest.append((word, self._term(depth)))
            self._expects(vocabulary.JOINTS)
        return AndOr(first, tuple(rest)) if rest else first

    def _term(self, depth: int) -> Node:
        negated, start = False, self._now.position
        while self._is(*_NOT):
            self._advance()
            negated = not negated
        self._expects_primitive()
        begin = self._now.position
        node = self._relation() or (self._group(depth) if self._is("(") else self._primitive(depth))
        self.sources[id(node)] = self._text[begin : self._now.position].strip()
        if not negated:
            return node
        node = Not(node)
        self.sources[id(node)] = self._text[start : self._now.position].strip()
        return node

    def _group(self, depth: int) -> Node:
        opening = self._advance()
        if depth >= MAX_DEPTH:
            raise self._refuse(f"parentheses deeper than {MAX_DEPTH}", opening)
        node = self._expression(depth + 1)
        self._expects((")",))
        if not self._is(")"):
            if self._now.kind == "end":
                raise self._refuse("this parenthesis is not closed", opening)
            raise self._unexpected_after()
        self._advance()
        return node

    def _relation(self) -> Node | None:
        """Return the node of the test of bytes that begins here; None if there is none."""
        start, token = self._now.position, self._now
        begins = header_at(self._text, start)
        known = begins in HEADERS or ("[" in token.word[1:] and not isinstance(self._last, str))
        possible = self._is("(") or token.word in ("len", *CONSTANTS) or token.text[:1].isdigit()
        there = "[" in self._text[start:] or (token.word == "len" and self._tokens[self._at + 1].text in ("+", "-"))
        if self._kind != vocabulary.PACKET or not there or not (known or possible):
            return None
        try:
            node, end = read_relation(self._text, start)
            self._move_to(end)
        except ByteTestError as error:
            if known:
                raise refusal(str(error), self._text, error.position) from None
            return None
        self._last = None
        return node

    def _move_to(self, end: int) -> None:
        """Move to the token that begins at or behind `end`."""
        at = self._at
        while self._tokens[at].position < end and self._tokens[at].kind != "end":
            at += 1
        if rest := self._text[end : self._tokens[at].position].strip():
            raise ByteTestError(f"“{rest}” does not belong here", end)
        self._at = at

    def _primitive(self, depth: int) -> Node:
        token = self._now
        word = vocabulary.PROTOCOL_ALIASES.get(token.word, token.word)
        if self._kind in vocabulary.BARE:
            return self._field(word) if word in vocabulary.beginnings(self._kind) else self._shorthand()
        if word in vocabulary.FAMILIES or word in vocabulary.PROTOCOLS or word in vocabulary.PACKET_WORDS:
            return self._protocol(word, depth)
        if word in vocabulary.SIDES or word in vocabulary.TUPLE_SIDES or word in vocabulary.TYPES:
            self._check_kind(word, vocabulary.ADDRESSED, token)
            return self._endpoints((), depth)
        if word in vocabulary.FIELDS:
            return self._field(word)
        if word in ("less", "greater"):
            self._check_kind(word, vocabulary.FIELDS["len"].kinds, self._advance())
            return self._value_of("len", "<=" if word == "less" else ">=")
        if word in vocabulary.LINK:
            return self._ether() if word == "ether" else self._group_address("ether")
        return self._shorthand()

    def _protocol(self, word: str, depth: int) -> Node:
        token = self._advance()
        self._check_kind(word, vocabulary.ADDRESSED, token)
        node = self._protocol_node(word, token)
        of_family = _OF_FAMILY[self._kind] if word in vocabulary.FAMILIES else ()
        self._expects((*vocabulary.qualifiers(self._kind), *of_family))
        if word in vocabulary.FAMILIES and self._is("proto", "protochain"):
            self._advance()
            return every((node, self._value_of("proto", "=")))
        if word in vocabulary.FAMILIES and self._now.word in vocabulary.GROUPS:
            return self._group_address(word)
        if self._now.word in vocabulary.SIDES | vocabulary.TUPLE_SIDES | vocabulary.TYPES:
            return self._endpoints((node,), depth)
        if word in LABELS and self._now.text[:1].isdigit():
            return every((node, self._read_value(LABELS[word], self._advance())))
        return node

    def _protocol_node(self, word: str, token: FilterToken) -> Node:
        if word in vocabulary.FAMILIES:
            return equal("family", vocabulary.FAMILIES[word])
        if word == "ah" and self._kind == vocabulary.PACKET:
            return Present(word)  # before IPv6's transport protocol, too
        if word in vocabulary.PROTOCOLS:
            return equal("proto", vocabulary.PROTOCOLS[word])
        self._check_kind(word, vocabulary.PACKETS, token)
        name, value, same = vocabulary.PACKET_WORDS[word]
        if name == "ethertype":
            return ethertype_node(value)
        return Compare(name, "=" if same else "!=", value)

    def _ether(self) -> Node:
        """Return the node of `ether broadcast`, `ether proto 0x88cc`, `ether src host 02:00:00:00:00:01`."""
        self._check_kind("ether", vocabulary.PACKETS, self._advance())
        self._expects(("host", *sorted(vocabulary.SIDES), "proto", *vocabulary.GROUPS))
        if self._now.word in vocabulary.GROUPS:
            return self._group_address("ether")
        if self._is("proto"):
            self._advance()
            self._expects((), "ether proto")
            return self._read_value(field_nodes.ethertype, self._advance())
        sides, joined = self._direction()
        self._expects(("host",))
        if self._is("host"):
            self._advance()
        elif self._now.word in vocabulary.TYPES:
            raise self._refuse(f"a MAC address has no {self._now.word}: say ether host, or {self._now.word}", self._now)
        return self._endpoint_value(Qualifiers(sides, joined, "ether"))

    def _group_address(self, layer: str) -> Node:
        """Return the node of `broadcast` or `multicast` of a layer: "ether", "ip", "ip6"."""
        token = self._advance()
        self._check_kind(token.word, vocabulary.PACKETS, token)
        node = GROUPS[token.word].get("ip" if layer == "ip4" else layer)
        if node is None:
            reason = "IPv6 has no broadcast" if layer == "ip6" else "the network's mask is not in a packet"
            raise self._refuse(f"{reason}: say broadcast, or dst host with the network's last address", token)
        return node

    def _endpoints(self, protocol: tuple[Node, ...], depth: int) -> Node:
        sides, joined = self._direction()
        self._expects(sorted(vocabulary.TYPES))
        kind = self._advance().word if self._now.word in vocabulary.TYPES else ""
        qualifiers = Qualifiers(sides, joined, kind, protocol)
        self._expects(("(",), kind or "host")
        if self._is("("):
            self._last = qualifiers
            sources = dict(self.sources)  # `port (80 or 443)` is one part: 443 alone has no meaning
            node = self._group(depth)
            self.sources = sources
            return node
        return self._endpoint_value(qualifiers)

    def _direction(self) -> tuple[tuple[str, ...], bool]:
        """Return the sides (`src`, `src or dst`, `src and dst`, `osrc`, none) and True if all of them must match."""
        word = self._now.word
        if word in vocabulary.TUPLE_SIDES:
            self._check_kind(word, vocabulary.CONNTRACK, self._advance())
            return (word,), False
        if word not in vocabulary.SIDES:
            return ("any",), False
        self._advance()
        self._expects(vocabulary.JOINTS)
        joint = self._joint()
        following = self._tokens[self._at + 1] if joint is not None else self._now
        if joint is None or (following.kind != "end" and following.word not in vocabulary.SIDES - {word}):
            return (word,), False
        self._advance()
        self._expects(vocabulary.SIDES - {word})
        if following.kind == "end":
            raise self._refuse(f"“{word} {joint}” ends where the other side must follow", following)
        return (word, self._advance().word), joint == "and"

    def _endpoint_value(self, qualifiers: Qualifiers) -> Node:
        """Return the node for a value with these qualifiers, its own or inherited."""
        token = self._now
        if token.value is None:
            raise self._refuse(f"{self._before()} takes a value here", token)
        self._last = qualifiers
        if qualifiers.type == "ether":
            return mac_node(self._read_value(values.mac, self._advance()), qualifiers.sides, qualifiers.every)
        test = self._read_value(field_nodes.ENDPOINT_TESTS[qualifiers.type], self._advance())
        if qualifiers.type == "net" and ":" not in token.text and "/" not in token.text:
            self._expects(("mask",))
        if self._is("mask") and qualifiers.type == "net":
            self._advance()
            self._expects((), "mask")
            test = InNet(self._read_value(lambda mask: values.netmask(token.text, mask), self._advance()))
        return every((*qualifiers.protocol, At(test, qualifiers.sides, qualifiers.every)))

    def _field(self, word: str) -> Node:
        self._check_kind(word, vocabulary.FIELDS[word].kinds, self._advance())
        self._expects(_operators(vocabulary.FIELDS[word].value))
        operator = self._advance().text if self._now.text in vocabulary.OPERATORS and not self._now.value else ""
        self._last = None if operator else word
        if word == "vlan" and not operator and (self._now.value is None or self._joint() is not None):
            self._expects((), word)
            return Present(word)
        return self._value_of(word, operator)

    def _value_of(self, word: str, operator: str) -> Node:
        token = self._now
        if _may_have_value(vocabulary.FIELDS[word].value, operator):
            self._expects((), word)
        if token.value is None:
            raise self._refuse(f"{self._before()} takes a value here", token)
        self._advance()
        try:
            node = field_nodes.field_node(vocabulary.FIELDS[word], word, operator, token.value)
            return Present("ah") if node == _AH and self._kind == vocabulary.PACKET else node
        except ValueError as error:
            raise self._refuse(str(error), token) from None

    def _shorthand(self) -> Node:
        token = self._now
        if token.value is None or self._joint() is not None:
            raise self._refuse(missing(self._before() if self._at else "", token.text), token)
        if token.word in vocabulary.BARE_STATUS | vocabulary.BARE_STATES and self._kind not in vocabulary.BARE:
            self._check_kind(token.word, vocabulary.CONNTRACK, self._advance())
            return self._bare(token.word)
        if values.looks_like_address(token.text) and self._kind in vocabulary.ADDRESSED:
            return self._endpoint_value(self._inherited())
        if self._is_foreign():
            following = (one for one in self._tokens[self._at + 1 :] if one.text not in ("=", "=="))
            raise self._refuse(foreign_word(token.text, next((one.value for one in following), None) or ""), token)
        if isinstance(self._last, str):
            return self._value_of(self._last, "")
        if name := vocabulary.BARE.get(self._kind):
            self._advance()
            return field_nodes.field_node(vocabulary.FIELDS[name], name, "", f"*{token.value}*")
        if self._last is not None and (token.text[:1].isdigit() or token.word in values.SERVICES):
            return self._endpoint_value(self._last)
        raise self._refuse(unknown_word(token.text, self._kind), token)

    def _bare(self, word: str) -> Node:
        if word != "nat":
            return field_nodes.status_node(word) if word in vocabulary.BARE_STATUS else field_nodes.state_node(word)
        self._expects(vocabulary.NAT_KINDS)
        if self._now.word in vocabulary.NAT_KINDS:
            return field_nodes.nat_node(self._advance().word)
        return field_nodes.status_node(word)

    def _inherited(self) -> Qualifiers:
        """Return the qualifiers of an address without any: the last ones, unless they were of a port."""
        last = self._last
        if not isinstance(last, Qualifiers) or last.type.startswith("port"):
            return Qualifiers()
        return last if last.type == "ether" else replace(last, type="")

    def _expects(self, words: Iterable[str], value: str = "") -> None:
        if self._now.kind == "end":
            self.expected.words.update(dict.fromkeys(words))
            self.expected.values.update({value: None} if value else {})

    def _expects_primitive(self) -> None:
        last = (self._last.type or "host") if isinstance(self._last, Qualifiers) else self._last or ""
        self._expects(("not", "(", *vocabulary.beginnings(self._kind)), last)

    @property
    def _now(self) -> FilterToken:
        return self._tokens[self._at]

    def _advance(self) -> FilterToken:
        token = self._tokens[self._at]
        if token.kind != "end":
            self._at += 1
        return token

    def _is(self, *words: str) -> bool:
        token = self._now
        return (token.text if token.kind == "symbol" else token.word) in words and token.kind != "end"

    def _joint(self) -> str | None:
        token = self._now
        return vocabulary.JOIN.get(token.text if token.kind == "symbol" else token.word)

    def _read_value(self, read: Callable[[str], _T], token: FilterToken) -> _T:
        if token.kind == "end":
            raise self._refuse(f"{self._before()} takes a value here", token)
        try:
            return read(token.text)
        except ValueError as error:
            raise self._refuse(str(error), token) from None

    def _check_kind(self, word: str, kinds: frozenset[str], token: FilterToken) -> None:
        if self._kind not in kinds:
            reason = f"“{word}” does not apply to {self._kind}s; here there are {vocabulary.own_words(self._kind)}"
            raise self._refuse(reason, token)

    def _is_foreign(self) -> bool:
        """Return whether a foreign name is where a primitive must begin. In `process x or sport` it is a process."""
        named = self._now.word in vocabulary.FOREIGN and self._kind in vocabulary.ADDRESSED
        following = self._tokens[self._at + 1]
        ends = following.kind == "end" or following.text == ")" or following.text.lower() in vocabulary.JOIN
        return named and not (ends and isinstance(self._last, str))

    def _before(self) -> str:
        return self._tokens[self._at - 1].text

    def _unexpected_after(self) -> FilterError:
        token = self._now
        if token.text == ")":
            return self._refuse("a parenthesis closes here that was never opened", token)
        if token.text in vocabulary.OPERATORS:
            value = self._tokens[min(self._at + 1, len(self._tokens) - 1)].value
            return self._refuse(not_compared(self._before(), value or ""), token)
        return self._refuse(unexpected_word(token.text, self._kind), token)

    def _refuse(self, reason: str, token: FilterToken) -> FilterError:
        if token.kind == "unreadable" or token.text in ("&", "|"):
            reason = meaningless(token.text)
        elif "," in token.word.strip(","):
            reason = with_commas(token.text)
        return refusal(reason, self._text, token.position)


def _operators(value_type: str) -> tuple[str, ...]:
    return ("=", "!=") if value_type in vocabulary.UNORDERED else (">", ">=", "<", "<=", "=", "!=")


def _may_have_value(value_type: str, operator: str) -> bool:
    if value_type in vocabulary.UNORDERED:
        return operator in ("", "=", "==", "!=")
    return bool(operator) or value_type not in vocabulary.MEASURES


_AH = equal("proto", vocabulary.PROTOCOLS["ah"])
_OF_FAMILY = dict.fromkeys(vocabulary.ADDRESSED, ("proto",)) | {vocabulary.PACKET: ("proto", "multicast")}
