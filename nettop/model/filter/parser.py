"""The grammar of the filter language: tokens into nodes, or a refusal with its place.

expression = term { ("and" | "or") term }          equal precedence, to the left, as in pcap-filter(7)
term       = { "not" } ( "(" expression ")" | primitive )
primitive  = protocol [ ends ] | ends | field | shorthand
ends       = [ direction ] [ "host" | "net" | "port" | "portrange" ] ( value | "(" expression ")" )
shorthand  = address | network | ":" port | address ":" port | value (of the primitive before: `port 80 or 443`)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import TypeVar

from nettop.errors import FilterError
from nettop.model.filter import values, vocabulary
from nettop.model.filter.field_nodes import field_node, nat_node, state_node, status_node
from nettop.model.filter.lexer import Token, refusal, tokens, unreadable
from nettop.model.filter.nodes import At, Both, Chain, Equal, InNet, InPorts, Node, Not, every

MAX_DEPTH = 100  # parentheses within parentheses
_T = TypeVar("_T")
_JOIN = {"and": "and", "&&": "and", "or": "or", "||": "or"}
_NOT = frozenset(("not", "!"))


@dataclass(frozen=True, slots=True)
class _Ends:
    """The qualifiers of a primitive, which the next bare value inherits."""

    sides: tuple[str, ...] = ("any",)
    every: bool = False
    type: str = ""  # "": a direction alone, which takes an address or a network
    protocol: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Expected:
    """What may stand at the end of the text: words, and values by what they are of (a field's word, "host", "port")."""

    words: dict[str, None] = field(default_factory=dict)  # in the order in which they are looked for
    values: dict[str, None] = field(default_factory=dict)


class Parser:
    """One pass over the tokens of one expression. `expected` says what may follow where the text ends."""

    def __init__(self, text: str, kind: str) -> None:
        self._text = text
        self._kind = kind
        self._tokens = tokens(text)
        self._at = 0
        self.expected = Expected()
        self.sources: dict[int, str] = {}  # id of a node → the text it was read from
        self._last: _Ends | str | None = None  # what a bare value belongs to: ends, or the name of a field

    def parse(self) -> Node:
        """The whole expression. FilterError with the place of what cannot be understood."""
        node = self._expression(0)
        if self._now.kind != "end":
            raise self._unexpected_after()
        return node

    # The structure.

    def _expression(self, depth: int) -> Node:
        first = self._term(depth)
        rest: list[tuple[str, Node]] = []
        self._expects(vocabulary.JOINTS)
        while (word := self._joint()) is not None:
            self._advance()
            rest.append((word, self._term(depth)))
            self._expects(vocabulary.JOINTS)
        return Chain(first, tuple(rest)) if rest else first

    def _term(self, depth: int) -> Node:
        negated, start = False, self._now.position
        while self._is(*_NOT):
            self._advance()
            negated = not negated
        self._expects_primitive()
        begin = self._now.position
        node = self._group(depth) if self._is("(") else self._primitive(depth)
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

    def _primitive(self, depth: int) -> Node:
        token = self._now
        word = vocabulary.PROTOCOL_ALIASES.get(token.word, token.word)
        if word in vocabulary.FAMILIES or word in vocabulary.PROTOCOLS or word in vocabulary.PACKET_WORDS:
            return self._protocol(word, depth)
        if word in vocabulary.SIDES or word in vocabulary.TUPLE_SIDES or word in vocabulary.TYPES:
            self._check_kind(word, vocabulary.ADDRESSED, token)
            return self._ends((), depth)
        if word in vocabulary.FIELDS:
            return self._field(word)
        if word in ("less", "greater"):
            return self._length(word)
        return self._shorthand()

    # Protocols, and what may follow them.

    def _protocol(self, word: str, depth: int) -> Node:
        token = self._advance()
        self._check_kind(word, vocabulary.ADDRESSED, token)
        node = self._protocol_node(word, token)
        self._expects((*vocabulary.qualifiers(self._kind), *(("proto",) if word in vocabulary.FAMILIES else ())))
        if word in vocabulary.FAMILIES and self._is("proto", "protochain"):
            self._advance()
            return every((node, self._value_of("proto", "=")))
        if self._now.word in vocabulary.SIDES | vocabulary.TUPLE_SIDES | vocabulary.TYPES:
            return self._ends((node,), depth)
        return node

    def _protocol_node(self, word: str, token: Token) -> Node:
        if word in vocabulary.FAMILIES:
            return Equal("family", vocabulary.FAMILIES[word])
        if word in vocabulary.PROTOCOLS:
            return Equal("proto", vocabulary.PROTOCOLS[word])
        self._check_kind(word, vocabulary.WIRE, token)
        name, value, same = vocabulary.PACKET_WORDS[word]
        return Equal(name, value) if same else Not(Equal(name, value))

    # Endpoints.

    def _ends(self, protocol: tuple[Node, ...], depth: int) -> Node:
        sides, joined = self._direction()
        self._expects(sorted(vocabulary.TYPES))
        kind = self._advance().word if self._now.word in vocabulary.TYPES else ""
        ends = _Ends(sides, joined, kind, protocol)
        self._expects(("(",), kind or "host")
        if self._is("("):
            self._last = ends
            whole = dict(self.sources)  # `port (80 or 443)` is one part: 443 alone would say little
            node = self._group(depth)
            self.sources = whole
            return node
        return self._end_value(ends)

    def _direction(self) -> tuple[tuple[str, ...], bool]:
        """The sides, and whether all of them must match: `src`, `src or dst`, `src and dst`, `osrc`, nothing."""
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

    def _end_value(self, ends: _Ends) -> Node:
        """The value behind qualifiers, own or inherited."""
        token = self._now
        if token.value is None:
            raise self._refuse(f"{self._before()} takes a value here", token)
        self._last = ends
        test = self._take(_END_TESTS[ends.type], self._advance())
        if ends.type == "net" and ":" not in token.text and "/" not in token.text:
            self._expects(("mask",))
        if self._is("mask") and ends.type == "net":
            self._advance()
            self._expects((), "mask")
            test = InNet(self._take(lambda mask: values.netmask(token.text, mask), self._advance()))
        return every((*ends.protocol, At(test, ends.sides, ends.every)))

    # Fields.

    def _field(self, word: str) -> Node:
        self._check_kind(word, vocabulary.FIELDS[word].kinds, self._advance())
        self._expects(_operators(vocabulary.FIELDS[word].value))
        operator = self._advance().text if self._now.text in vocabulary.OPERATORS and not self._now.value else ""
        self._last = None if operator else word
        return self._value_of(word, operator)

    def _value_of(self, word: str, operator: str) -> Node:
        token = self._now
        if _takes_values(vocabulary.FIELDS[word].value, operator):
            self._expects((), word)
        if token.value is None:
            raise self._refuse(f"{word} takes a value here", token)
        self._advance()
        try:
            return field_node(vocabulary.FIELDS[word], word, operator, token.value)
        except ValueError as error:
            raise self._refuse(str(error), token) from None

    def _length(self, word: str) -> Node:
        self._check_kind(word, vocabulary.FIELDS["len"].kinds, self._advance())
        return self._value_of("len", "<=" if word == "less" else ">=")

    # What people type without a keyword.

    def _shorthand(self) -> Node:
        token = self._now
        if token.value is None:
            raise self._refuse(self._missing(), token)
        if token.word in vocabulary.BARE_STATUS | vocabulary.BARE_STATES:
            self._check_kind(token.word, vocabulary.CONNTRACK, self._advance())
            return self._bare(token.word)
        if values.looks_like_address(token.text) and self._kind in vocabulary.ADDRESSED:
            return self._end_value(self._heir())
        if self._is_column():
            raise self._refuse(self._column(), token)
        if isinstance(self._last, str):
            return self._value_of(self._last, "")
        if self._last is not None and (token.text[:1].isdigit() or token.word in values.SERVICES):
            return self._end_value(self._last)
        raise self._refuse(self._unknown(token), token)

    def _bare(self, word: str) -> Node:
        if word != "nat":
            return status_node(word) if word in vocabulary.BARE_STATUS else state_node(word)
        self._expects(vocabulary.NAT_KINDS)
        return nat_node(self._advance().word) if self._now.word in vocabulary.NAT_KINDS else status_node(word)

    def _heir(self) -> _Ends:
        """What a bare address belongs to: the last qualifiers, unless they were of a port."""
        last = self._last
        return replace(last, type="") if isinstance(last, _Ends) and not last.type.startswith("port") else _Ends()

    # What may stand at the end.

    def _expects(self, words: Iterable[str], value: str = "") -> None:
        if self._now.kind == "end":
            self.expected.words.update(dict.fromkeys(words))
            self.expected.values.update({value: None} if value else {})

    def _expects_primitive(self) -> None:
        last = (self._last.type or "host") if isinstance(self._last, _Ends) else self._last or ""
        self._expects(("not", "(", *vocabulary.beginnings(self._kind)), last)

    # Tokens and refusals.

    @property
    def _now(self) -> Token:
        return self._tokens[self._at]

    def _advance(self) -> Token:
        token = self._tokens[self._at]
        if token.kind != "end":
            self._at += 1
        return token

    def _is(self, *words: str) -> bool:
        token = self._now
        return (token.text if token.kind == "symbol" else token.word) in words and token.kind != "end"

    def _joint(self) -> str | None:
        token = self._now
        return _JOIN.get(token.text if token.kind == "symbol" else token.word)

    def _take(self, read: Callable[[str], _T], token: Token) -> _T:
        try:
            return read(token.text)
        except ValueError as error:
            raise self._refuse(str(error), token) from None

    def _check_kind(self, word: str, kinds: frozenset[str], token: Token) -> None:
        if self._kind not in kinds:
            what = f"“{word}” cannot be asked of {self._kind}s; here: {vocabulary.own_words(self._kind)}"
            raise self._refuse(what, token)

    def _unknown(self, token: Token) -> str:
        if "[" in token.text and "]" in token.text:
            return self._bytes()
        near = get_close_matches(token.word[:40], vocabulary.words(self._kind), 1, 0.7)
        if near:
            return f"“{token.text}” is not known here; did you mean {near[0]}?"
        if token.text.isdigit():
            return (
                f"“{token.text}” alone may be anything: say port {token.text}, net {token.text} or proto {token.text}"
            )
        return f"“{token.text}” is not known here; there are {vocabulary.own_words(self._kind)}"

    def _is_column(self) -> bool:
        """Whether a column is named where a test must begin; `process x or sport` names a process."""
        named = self._now.word in vocabulary.COLUMNS and self._kind in vocabulary.ADDRESSED
        following = self._tokens[self._at + 1]
        ends = following.kind == "end" or following.text == ")" or following.text.lower() in _JOIN
        return named and not (ends and isinstance(self._last, str))

    def _column(self) -> str:
        following = (token for token in self._tokens[self._at + 1 :] if token.text not in ("=", "=="))
        value = next((token.value for token in following), None) or ""
        words = f"{vocabulary.COLUMNS[self._now.word]} {'' if value.lower() in _JOIN else value}"
        return f"“{self._now.text}” is the name of a column; say {words.rstrip()}"

    def _bytes(self) -> str:
        if self._kind in vocabulary.CONNTRACK:
            return f"{self._kind}s have no bytes to test: the capture filter does (B, or -f)"
        return "bytes of the packet cannot be asked here (the capture filter can)"

    def _missing(self) -> str:
        if self._now.kind == "end":
            return "the filter ends where something must follow" if self._at else "nothing to look for"
        return f"“{self._now.text}” where something to look for must stand"

    def _before(self) -> str:
        return self._tokens[self._at - 1].text

    def _unexpected_after(self) -> FilterError:
        token = self._now
        if token.text == ")":
            return self._refuse("a parenthesis closes here that was never opened", token)
        if token.text in vocabulary.OPERATORS:
            return self._refuse(f"{self._before()} cannot be compared", token)
        return self._refuse("“and” or “or” must stand before this", token)

    def _refuse(self, what: str, token: Token) -> FilterError:
        why = unreadable(token.text) if token.kind == "unreadable" else what
        return refusal(why, self._text, token.position)


def _operators(value: str) -> tuple[str, ...]:
    return ("=", "!=") if value in vocabulary.UNORDERED else (">", ">=", "<", "<=", "=", "!=")


def _takes_values(value: str, operator: str) -> bool:
    if value in vocabulary.UNORDERED:
        return operator in ("", "=", "==", "!=")
    return bool(operator) or value not in vocabulary.MEASURES


def _host(text: str) -> InNet | InPorts | Both:
    """An address, a network, or either with a port."""
    pair = values.with_port(text) if text.count(":") == 1 or text.startswith("[") else None
    if pair is None:
        return InNet(values.net(text) if "/" in text else values.address(text))
    host, number = pair
    ports = InPorts(number, number)
    return ports if host is None else Both(InNet(host), ports)


def _ports(text: str) -> InPorts:
    return InPorts(*values.portrange(text))


_END_TESTS: dict[str, Callable[[str], InNet | InPorts | Both]] = {
    "": _host,
    "host": _host,
    "net": lambda text: InNet(values.net(text)),
    "port": _ports,
    "portrange": _ports,
}
