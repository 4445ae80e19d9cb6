"""The parser of tests of bytes, as in pcap-filter(7): `tcp[tcpflags] & (tcp-syn|tcp-fin) != 0`, `ip[6:2] & 0x1fff = 0`.

relation   = arithmetic ( ">" | "<" | ">=" | "<=" | "=" | "==" | "!=" ) arithmetic
arithmetic = term { ( "|" | "&" | "<<" | ">>" | "+" | "-" | "*" | "/" | "%" | "^" ) term }
term       = number | constant | "len" | header "[" arithmetic [ ":" size ] "]" | "(" arithmetic ")" | "-" term
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Final

from nettop.model.filter.byte_nodes import HEADERS, Bytes, Constant, Length, Operation, Term
from nettop.model.filter.nodes import COMPARE

MAX_TERMS = 200
MAX_DEPTH = 50
_U32 = (1 << 32) - 1
_TOKEN = re.compile(
    r"\s*(?:(?P<number>0x[0-9a-f]+|\d+)|(?P<name>[a-z][a-z0-9]*(?:-[a-z][a-z0-9]*)*)"
    r"|(?P<symbol><<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^<>=()\[\]:]))",
    re.IGNORECASE | re.ASCII,
)
_ANY = 9
# How tightly an operator binds to its left, and its right side must bind. libpcap's grammar gives % and ^ no
# precedence: they take all that follows.
_BINDING: Final = {
    "|": (1, 2), "&": (2, 3), "<<": (3, 4), ">>": (3, 4), "+": (4, 5), "-": (4, 5), "*": (5, 6), "/": (5, 6),
    "%": (_ANY, 1), "^": (_ANY, 1),
}  # fmt: skip
CONSTANTS: Final = {  # pcap-filter(7)
    **{"icmptype": 0, "icmp6type": 0, "icmpcode": 1, "icmp6code": 1, "tcpflags": 13},
    **{"icmp-echoreply": 0, "icmp-unreach": 3, "icmp-sourcequench": 4, "icmp-redirect": 5, "icmp-echo": 8},
    **{"icmp-routeradvert": 9, "icmp-routersolicit": 10, "icmp-timxceed": 11, "icmp-paramprob": 12},
    **{"icmp-tstamp": 13, "icmp-tstampreply": 14, "icmp-ireq": 15, "icmp-ireqreply": 16, "icmp-maskreq": 17},
    **{"icmp-maskreply": 18, "icmp6-destinationunreach": 1, "icmp6-packettoobig": 2, "icmp6-timeexceeded": 3},
    **{"icmp6-parameterproblem": 4, "icmp6-echo": 128, "icmp6-echoreply": 129, "icmp6-multicastlistenerquery": 130},
    **{"icmp6-multicastlistenerreportv1": 131, "icmp6-multicastlistenerdone": 132, "icmp6-routersolicit": 133},
    **{"icmp6-routeradvert": 134, "icmp6-neighborsolicit": 135, "icmp6-neighboradvert": 136, "icmp6-redirect": 137},
    **{"icmp6-routerrenum": 138, "icmp6-nodeinformationquery": 139, "icmp6-nodeinformationresponse": 140},
    **{"icmp6-ineighbordiscoverysolicit": 141, "icmp6-ineighbordiscoveryadvert": 142},
    **{"icmp6-multicastlistenerreportv2": 143, "icmp6-homeagentdiscoveryrequest": 144},
    **{"icmp6-homeagentdiscoveryreply": 145, "icmp6-mobileprefixsolicit": 146, "icmp6-mobileprefixadvert": 147},
    **{"icmp6-certpathsolicit": 148, "icmp6-certpathadvert": 149, "icmp6-multicastrouteradvert": 151},
    **{"icmp6-multicastroutersolicit": 152, "icmp6-multicastrouterterm": 153},
    **{"tcp-fin": 1, "tcp-syn": 2, "tcp-rst": 4, "tcp-push": 8, "tcp-ack": 16, "tcp-urg": 32, "tcp-ece": 64},
    **{"tcp-cwr": 128},
}
_OF = ("tcp", "icmp", "icmp6")
_BEGINS = re.compile(r"([a-z][a-z0-9]*)\s*\[", re.IGNORECASE | re.ASCII)


class ByteTestError(ValueError):
    """A text that cannot be understood, and its position."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


def header_at(text: str, position: int) -> str:
    """Return the word of a `word[` that begins at a position, in lower case; "" if there is none."""
    match = _BEGINS.match(text, position)
    return match[1].lower() if match else ""


def read_relation(text: str, position: int) -> tuple[Operation, int]:
    """Return the relation that begins at a position, and where it ends. Raises ByteTestError."""
    parser = _RelationParser(text, position)
    left = parser.arithmetic(1, 0)
    operator = parser.take()
    if operator not in COMPARE:
        written = text[position : parser.before].strip()
        raise ByteTestError(f"compare it with a number: {written} != 0", parser.before)
    right = parser.arithmetic(1, 0)
    return Operation(left, operator, right), parser.at


class _RelationParser:
    """A parser at a position of the text. `before`: where the last token began."""

    def __init__(self, text: str, position: int) -> None:
        self._text = text
        self.at = self.before = position
        self._terms = 0

    def _peek(self) -> tuple[str, str, int]:
        """Return the kind, the text in lower case, and the end of the next token; no kind where there is none."""
        match = _TOKEN.match(self._text, self.at)
        if match is None:
            return "", "", self.at
        kind = match.lastgroup or ""
        return kind, match[kind].lower(), match.end()

    def take(self) -> str:
        """Return the next token's text, and move behind it."""
        _, text, end = self._peek()
        self.before = end - len(text)
        self.at = end
        return text

    def _refuse(self, message: str) -> ByteTestError:
        return ByteTestError(message, self.before)

    def arithmetic(self, weakest: int, depth: int) -> Term:
        """Return the terms and operators that bind at least this tightly."""
        left = self._term(depth)
        while (binding := _BINDING.get(self._peek()[1])) is not None and binding[0] >= weakest:
            operator = self.take()
            at = self.at
            right = self.arithmetic(binding[1], depth)
            if isinstance(right, Constant):
                self._check(operator, right.value, at)
            left = Operation(left, operator, right)
        return left

    def _check(self, operator: str, value: int, at: int) -> None:
        if operator in "/%" and value == 0:
            raise ByteTestError("a division by zero", at)
        if operator in ("<<", ">>") and value > 31:
            raise ByteTestError("a shift by more than 31 bits", at)

    def _term(self, depth: int) -> Term:
        self._terms += 1
        if depth > MAX_DEPTH or self._terms > MAX_TERMS:
            raise self._refuse(f"too long: at most {MAX_TERMS} numbers, {MAX_DEPTH} brackets deep")
        kind, text, end = self._peek()
        self.take()
        if kind == "number":
            return self._number(text)
        if kind == "name":
            return self._named(text, depth)
        if text == "(":
            inner = self.arithmetic(1, depth + 1)
            self._close(")")
            return inner
        if text == "-":
            return Operation(Constant(0), "-", self._term(depth + 1))
        self.before = end - len(text)
        raise self._refuse("a number is expected here" if text or end < len(self._text.rstrip()) else _ENDS)

    def _number(self, text: str) -> Constant:
        base = 16 if text.startswith("0x") else 8 if text.startswith("0") else 10
        try:
            value = int(text, base) if len(text) <= 16 else _U32 + 1
        except ValueError:
            raise self._refuse(f"“{text}” is not a number") from None
        if value > _U32:
            raise self._refuse(f"“{text}” has more than 32 bits")
        return Constant(value)

    def _named(self, name: str, depth: int) -> Term:
        if name in CONSTANTS:
            return Constant(CONSTANTS[name])
        if name == "len" and self._peek()[1] != "[":
            return Length()
        if name not in HEADERS:
            meant = get_close_matches(name, CONSTANTS, 1, 0.8) or [
                f"{of}-{name}" for of in _OF if f"{of}-{name}" in CONSTANTS
            ]
            hint = f"did you mean {meant[0]}?" if meant else f"there are {', '.join(HEADERS)}"
            raise self._refuse(f"“{name}” has no bytes to test; {hint}")
        if self.take() != "[":
            raise self._refuse(f"bytes are tested as {name}[0] = 1")
        opening = self.before
        layer, tests = HEADERS[name]
        offset = self.arithmetic(1, depth + 1)
        size = self._size() if self._peek()[1] == ":" else 1
        self._close("]", opening)
        return Bytes(layer, tests, offset, size)

    def _size(self) -> int:
        self.take()
        size = self.take()
        if size not in ("1", "2", "4"):
            raise self._refuse("1, 2 or 4 bytes can be tested")
        return int(size)

    def _close(self, bracket: str, opening: int | None = None) -> None:
        if self.take() != bracket:
            at = self.before if opening is None else opening
            raise ByteTestError(f"“{bracket}” must follow", at)


_ENDS = "the filter ends where a number must follow"
