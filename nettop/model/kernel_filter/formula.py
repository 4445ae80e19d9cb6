"""A filter as tests of numbers in a conntrack message: never narrower than the filter, where it cannot be the same.

What a message does not tell (a rate, a process) is left out on both sides of a `not`: it counts as true.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from nettop.model.filter import nodes
from nettop.model.filter.values import AF_INET, Net
from nettop.text.flow import EVENT_WORDS, STATE_BASE, STATE_WORDS

WORD = 0xFFFFFFFF
ENDS = {"any": ("osrc", "odst", "rsrc", "rdst"), "src": ("osrc",), "dst": ("odst",)} | {
    end: (end,) for end in ("osrc", "odst", "rsrc", "rdst")
}
PORT_OF = {"osrc": "osport", "odst": "odport", "rsrc": "rsport", "rdst": "rdport"}
_NUMBERS = frozenset(("family", "proto", "mark", "zone", "status", "id", "timeout"))
_CODES = {"state": STATE_WORDS, "event": EVENT_WORDS[:4]}


@dataclass(frozen=True, slots=True)
class In:
    """low <= number & bits <= high, or the opposite. Addresses by 32-bit word: "osrc.0" is the first of the source."""

    number: str
    low: int
    high: int
    bits: int = WORD
    holds: bool = True


@dataclass(frozen=True, slots=True)
class All:
    """All of these hold; () is true."""

    parts: tuple[Formula, ...] = ()


@dataclass(frozen=True, slots=True)
class Any:
    """Any of these holds; () is false."""

    parts: tuple[Formula, ...] = ()


Formula = In | All | Any
TRUE, FALSE = All(), Any()


def all_of(parts: Iterable[Formula]) -> Formula:
    """Their conjunction, simplified."""
    found: dict[Formula, None] = {}
    for part in parts:
        found.update(dict.fromkeys(part.parts if isinstance(part, All) else (part,)))
    if FALSE in found:
        return FALSE
    return next(iter(found)) if len(found) == 1 else All(tuple(found))


def any_of(parts: Iterable[Formula]) -> Formula:
    """Their disjunction, simplified."""
    found: dict[Formula, None] = {}
    for part in parts:
        found.update(dict.fromkeys(part.parts if isinstance(part, Any) else (part,)))
    if TRUE in found:
        return TRUE
    return next(iter(found)) if len(found) == 1 else Any(tuple(found))


def opposite(formula: Formula) -> Formula:
    """Holds where the other does not."""
    if isinstance(formula, In):
        return replace(formula, holds=not formula.holds)
    join = any_of if isinstance(formula, All) else all_of
    return join(opposite(part) for part in formula.parts)


def settled(formula: Formula, known: Callable[[In], bool | None]) -> Formula:
    """The formula with what is known of its tests put in; None: not known."""
    if isinstance(formula, In):
        value = known(formula)
        return formula if value is None else TRUE if value == formula.holds else FALSE
    join = all_of if isinstance(formula, All) else any_of
    return join(settled(part, known) for part in formula.parts)


def tests(formula: Formula) -> list[In]:
    """Every test in it, in order."""
    return [formula] if isinstance(formula, In) else [test for part in formula.parts for test in tests(part)]


def exact(node: nodes.Node) -> Formula | None:
    """What a node means, exactly; None where a message does not tell that."""
    if isinstance(node, nodes.Not):
        inner = exact(node.node)
        return None if inner is None else opposite(inner)
    if isinstance(node, nodes.Chain):
        return _chain(node)
    if isinstance(node, nodes.At):
        return _at(node)
    if isinstance(node, nodes.Word):
        return _word(node)
    return _number(node)


def _chain(chain: nodes.Chain) -> Formula | None:
    result = exact(chain.first)
    for word, node in chain.rest:
        other = exact(node)
        if result is None or other is None:
            return None
        result = (all_of if word == "and" else any_of)((result, other))
    return result


def _number(node: nodes.Node) -> Formula | None:
    if isinstance(node, nodes.Equal) and node.name in _NUMBERS:
        return _between(node.name, node.value, node.value)
    if isinstance(node, nodes.Bits) and node.name in _NUMBERS:
        none = In(node.name, 0, 0, node.bits & WORD)
        return opposite(none) if node.set else none
    if isinstance(node, nodes.Compare) and node.name in _NUMBERS:
        return _compare(node)
    return None


def _compare(node: nodes.Compare) -> Formula:
    value, sign = node.value, node.operator
    down, up = math.floor(value), math.ceil(value)
    low, high = {
        "<": (0, up - 1),
        "<=": (0, down),
        ">": (down + 1, WORD),
        ">=": (up, WORD),
    }.get(sign, (up, down))  # "=", "==", "!=": nothing is equal to a fraction
    found = _between(node.name, low, high, node.bits & WORD)
    return opposite(found) if sign == "!=" else found


def _between(number: str, low: int, high: int, bits: int = WORD) -> Formula:
    low, high = max(low, 0), min(high, WORD)
    if low > high:
        return FALSE
    return TRUE if (low, high) == (0, WORD) else In(number, low, high, bits)


def _word(node: nodes.Word) -> Formula | None:
    """States and events are words that stand for codes."""
    if node.name not in _CODES:
        return None
    fitting = [code for code, word in enumerate(_CODES[node.name]) if node.fits(word)]
    if node.name == "state" and any(code < min(STATE_BASE.values()) for code in fitting):
        return None  # those follow from the status
    runs: list[list[int]] = []
    for code in fitting:
        if runs and runs[-1][1] == code - 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return any_of(In(node.name, low, high) for low, high in runs)


def _at(node: nodes.At) -> Formula | None:
    join = all_of if node.every else any_of
    sides: list[Formula] = []
    for side in node.sides:
        ends = [_end(node.test, end) for end in ENDS[side]]
        sides.append(any_of(ends))
    return all_of((_family(node.test), join(sides)))


def _family(test: object) -> Formula:
    """The family that a test of addresses implies, said once for all ends."""
    if isinstance(test, nodes.Both):
        return all_of((_family(test.one), _family(test.other)))
    return In("family", test.net.family, test.net.family) if isinstance(test, nodes.InNet) else TRUE


def _end(test: object, end: str) -> Formula:
    if isinstance(test, nodes.Both):
        return all_of((_end(test.one, end), _end(test.other, end)))
    if isinstance(test, nodes.InPorts):
        return In(PORT_OF[end], test.first, test.last)
    assert isinstance(test, nodes.InNet)
    return _net(test.net, end)


def _net(net: Net, end: str) -> Formula:
    words = 1 if net.family == AF_INET else 4
    found: list[Formula] = []
    for word in range(words):
        shift = 32 * (words - 1 - word)
        bits, value = net.mask >> shift & WORD, net.address >> shift & WORD
        if bits:
            found.append(In(f"{end}.{word}", value, value, bits))
    return all_of(found)
