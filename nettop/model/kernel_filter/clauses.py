"""Terms of a filter as equivalent tests of numbers in a conntrack message."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain, product

from nettop.linux.socket import AF_INET
from nettop.model.filter import nodes
from nettop.model.filter.values import Net
from nettop.model.kernel_filter import bpf

WORD = 0xFFFFFFFF
_MAX_ALTERNATIVES = 1000  # that a conjunction inside a term may expand to: a program of more would be too long
_ENDPOINTS = {"any": ("osrc", "odst", "rsrc", "rdst"), "src": ("osrc",), "dst": ("odst",)}
_NUMBERS = frozenset(("family", "proto", "mark", "zone", "status"))
_COMPARE = {
    "<": (bpf.JGE, False), "<=": (bpf.JGT, False), "=": (bpf.JEQ, True), "==": (bpf.JEQ, True),
    "!=": (bpf.JEQ, False), ">": (bpf.JGT, True), ">=": (bpf.JGE, True),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Test:
    """`number & bits` compared with a value. Addresses by 32-bit word: "osrc.0" is the first word of the source."""

    number: str
    value: int
    compare: int = bpf.JEQ  # or JGT, JGE
    holds: bool = True  # False: the opposite
    bits: int = WORD


Alternatives = tuple[tuple[Test, ...], ...]  # all tests of one of them hold


@dataclass(frozen=True, slots=True)
class Clause:
    """A condition: at least one of the alternatives holds (or, with `holds` False, none)."""

    alternatives: Alternatives
    holds: bool = True

    def implied(self) -> tuple[Test, ...]:
        """Return single tests that hold if the clause holds. As many as alternatives: they are equivalent to it."""
        if self.holds:
            return self.alternatives[0] if len(self.alternatives) == 1 else ()
        return tuple(replace(each[0], holds=not each[0].holds) for each in self.alternatives if len(each) == 1)


def clauses(node: nodes.Node, holds: bool) -> tuple[Clause, ...] | None:
    """Return clauses that all hold if the node matches (`holds` False: does not); None if they cannot express it."""
    while isinstance(node, nodes.Not):
        node, holds = node.node, not holds
    found = _alternatives(node)
    if found is None or not holds:
        return None if found is None else (Clause(found, False),)
    common = tuple(test for test in found[0] if all(test in each for each in found))
    rest = tuple(tuple(test for test in each if test not in common) for each in found)
    return (*(Clause(((test,),)) for test in common), *((Clause(rest),) if all(rest) else ()))


def _alternatives(node: nodes.Node) -> Alternatives | None:
    if isinstance(node, nodes.AndOr):
        return _chain(node)
    if isinstance(node, nodes.At):
        return _at(node)
    if not isinstance(node, nodes.Compare) or node.name not in _NUMBERS:
        return None
    compare, holds = _COMPARE[node.operator]
    return ((Test(node.name, int(node.value), compare, holds, node.bits & WORD),),)


def _chain(node: nodes.AndOr) -> Alternatives | None:
    found = _alternatives(node.first)
    for word, part in node.rest:
        more = _alternatives(part)
        if found is None or more is None or (word == "and" and len(found) * len(more) > _MAX_ALTERNATIVES):
            return None
        found = (*found, *more) if word == "or" else _both(found, more)
    return found


def _both(one: Alternatives, other: Alternatives) -> Alternatives:
    return tuple(tuple(dict.fromkeys(chain(*pair))) for pair in product(one, other))


def _at(node: nodes.At) -> Alternatives:
    sides = [tuple(_end(node.test, end) for end in _ENDPOINTS.get(side, (side,))) for side in node.sides]
    return _both(*sides) if node.every else tuple(chain(*sides))


def _end(test: object, end: str) -> tuple[Test, ...]:
    if isinstance(test, nodes.Both):
        return (*_end(test.one, end), *_end(test.other, end))
    if isinstance(test, nodes.InPorts):
        port = f"{end[:2]}port"
        if test.first == test.last:
            return (Test(port, test.first),)
        return (Test(port, test.first, bpf.JGE), Test(port, test.last, bpf.JGT, holds=False))
    assert isinstance(test, nodes.InNet)
    return _net(test.net, end)


def _net(net: Net, end: str) -> tuple[Test, ...]:
    words = 1 if net.family == AF_INET else 4
    found = [Test("family", net.family)]
    for word in range(words):
        shift = 32 * (words - 1 - word)
        if bits := net.mask >> shift & WORD:
            found.append(Test(f"{end}.{word}", net.address >> shift & WORD, bits=bits))
    return tuple(found)
