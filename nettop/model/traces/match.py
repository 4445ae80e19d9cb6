"""A filter as alternatives of tests that a tracing table can make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product

from nettop.broker.requests import PacketMatch, PacketTest
from nettop.errors import FilterError, UsageError
from nettop.linux import nf_tables as nft
from nettop.linux.inet import IPPROTO_TCP, WITH_PORTS
from nettop.linux.interface import IFNAMSIZ
from nettop.linux.nfnetlink import NFPROTO_IPV4, NFPROTO_IPV6
from nettop.linux.socket import AF_INET
from nettop.model.filter import nodes
from nettop.model.filter.expression import Filter

MAX_MATCHES = 128
_PORTS = {"src": 0, "dst": 2}  # offsets in the transport header: RFC 9293, RFC 768
_ADDRESSES = {  # offsets in the network header: RFC 791, RFC 8200
    NFPROTO_IPV4: {"src": 12, "dst": 16},
    NFPROTO_IPV6: {"src": 8, "dst": 24},
}
_TCP_FLAGS, _SYN, _SYN_ACK = 13, 0x02, 0x12  # RFC 9293


def _number(of: str, at: int, size: int, first: int, last: int | None = None, mask: int | None = None) -> PacketTest:
    mask = (1 << 8 * size) - 1 if mask is None else mask
    return PacketTest(of, at, size, first, first if last is None else last, mask, True)


def _family(number: int) -> PacketTest:
    return _number("meta", nft.NFT_META_NFPROTO, 1, number)


def _protocol(number: int) -> PacketTest:
    return _number("meta", nft.NFT_META_L4PROTO, 1, number)


_PORTED = tuple(map(_protocol, WITH_PORTS))


@dataclass(frozen=True, slots=True)
class Atom:
    """A test of the packets for which one of the guards holds; others do not match. Without a guard: of all packets."""

    test: PacketTest
    guards: tuple[PacketTest, ...] = ()
    holds: bool = True


Conjunction = tuple[Atom, ...]


def matches(parsed: Filter | None, *, syn: bool = False) -> tuple[PacketMatch, ...]:
    """Return the alternatives; None: every packet. UsageError if there are too many, or no packet can match.

    `syn`: only of packets that open a TCP connection.
    """
    opening = (Atom(_protocol(IPPROTO_TCP)), Atom(_number("transport", _TCP_FLAGS, 1, _SYN, mask=_SYN_ACK)))
    found: dict[PacketMatch, None] = {}
    for conjunction in _alternatives(parsed, parsed.node, True) if parsed else ((),):
        for tests in _expanded((*conjunction, *opening) if syn else conjunction):
            found[PacketMatch(tests)] = None
            if len(found) > MAX_MATCHES:
                raise UsageError(f"the filter has more than {MAX_MATCHES} alternatives", "trace a part of it")
    if not found:
        raise FilterError("no packet can match this filter", parsed.text if parsed else "")
    return tuple(found)


def _alternatives(parsed: Filter, node: nodes.Node, holds: bool) -> Iterator[Conjunction]:
    """Yield conjunctions of which one holds if the node matches (`holds` False: does not match)."""
    if isinstance(node, nodes.Not):
        yield from _alternatives(parsed, node.node, not holds)
    elif isinstance(node, nodes.AndOr):
        yield from _chain(parsed, node, holds)
    elif isinstance(node, nodes.At):
        sides = [[_end(node.test, end) for end in (_PORTS if side == "any" else (side,))] for side in node.sides]
        joined = [tuple(atom for part in pair for atom in part) for pair in product(*sides)]
        alternatives = joined if node.every else [atoms for side in sides for atoms in side]
        yield from alternatives if holds else _none(alternatives)
    else:
        yield (replace(atom := _leaf(parsed, node), holds=atom.holds is holds),)


def _chain(parsed: Filter, node: nodes.AndOr, holds: bool) -> Iterator[Conjunction]:
    found = list(_alternatives(parsed, node.first, holds))
    for word, part in node.rest:
        more = _alternatives(parsed, part, holds)
        if (word == "or") is holds:
            found = [*found, *more]
        else:
            found = [(*one, *other) for one, other in product(found, list(more))]
        if len(found) > MAX_MATCHES**2:
            raise UsageError(f"the filter has more than {MAX_MATCHES} alternatives", "trace a part of it")
    yield from found


def _none(alternatives: Iterable[Conjunction]) -> Iterator[Conjunction]:
    """Yield the conjunctions of which one holds if none of the alternatives does."""
    for chosen in product(*alternatives):
        yield tuple(replace(atom, holds=not atom.holds) for atom in chosen)


def _end(test: object, end: str) -> Conjunction:
    if isinstance(test, nodes.Both):
        return (*_end(test.one, end), *_end(test.other, end))
    if isinstance(test, nodes.InPorts):
        return (Atom(_number("transport", _PORTS[end], 2, test.first, test.last), _PORTED),)
    assert isinstance(test, nodes.InNet)
    net = test.net
    family, size = (NFPROTO_IPV4, 4) if net.family == AF_INET else (NFPROTO_IPV6, 16)
    if not net.mask:
        return (Atom(_family(family)),)
    found = _number("network", _ADDRESSES[family][end], size, net.address, mask=net.mask)
    return (Atom(found, (_family(family),)),)


def _leaf(parsed: Filter, node: nodes.Node) -> Atom:
    if isinstance(node, nodes.Compare) and node.name in _LEAVES:
        return Atom(_LEAVES[node.name](int(node.value)), holds=node.operator != "!=")
    if isinstance(node, nodes.Word) and node.name == "device":
        return _device(parsed, node)
    source = parsed.source(node)
    raise FilterError(f"a trace cannot test “{source or parsed.text}”", parsed.text, parsed.text.find(source))


_LEAVES: dict[str, Callable[[int], PacketTest]] = {
    "family": lambda value: _family(NFPROTO_IPV4 if value == AF_INET else NFPROTO_IPV6),
    "proto": _protocol,
}


def _device(parsed: Filter, node: nodes.Word) -> Atom:
    text = node.pattern
    name = text.encode().removesuffix(b"*")
    if not name or b"*" in name or b"?" in name or len(name) >= IFNAMSIZ:
        at = parsed.text.find(text, max(0, parsed.text.find(parsed.source(node))))
        message = f"a trace needs the name of a device, or its begin (eth*), not “{text}”"
        raise FilterError(message, parsed.text, at if at >= 0 else None)
    size = len(name) if text.endswith("*") else IFNAMSIZ
    mask = b"\xff" * size
    value, bits = (int.from_bytes(part.ljust(IFNAMSIZ, b"\0"), "big") for part in (name, mask))
    return Atom(_number("device", 0, IFNAMSIZ, value, mask=bits))


def _expanded(conjunction: Conjunction) -> Iterator[tuple[PacketTest, ...]]:
    """Yield the tests of a conjunction, with the guards of its atoms; not those that contradict each other."""
    wanted = dict.fromkeys(atom.guards for atom in conjunction if atom.holds and atom.guards)
    optional = dict.fromkeys(atom.guards for atom in conjunction if atom.guards and atom.guards not in wanted)
    choices: list[list[tuple[PacketTest, ...]]] = [[(guard,) for guard in guards] for guards in wanted]
    choices += [
        [*((guard,) for guard in guards), tuple(replace(guard, holds=False) for guard in guards)] for guards in optional
    ]
    for chosen in product(*choices):
        guards = [guard for part in chosen for guard in part]
        there = [atom for atom in conjunction if not atom.guards or any(guard in guards for guard in atom.guards)]
        tests = dict.fromkeys((*guards, *(replace(atom.test, holds=atom.holds) for atom in there)))
        if _possible(tests):
            yield tuple(_needed(tests))


def _possible(tests: Iterable[PacketTest]) -> bool:
    """Return False if a field must have two values, or must have a value and not have it."""
    exact = [test for test in tests if test.of == "meta"]
    wanted = {test.at: {other.first for other in exact if other.at == test.at and other.holds} for test in exact}
    return all(
        len(values) <= 1 and not any(test.at == at and not test.holds and test.first in values for test in exact)
        for at, values in wanted.items()
    )


def _needed(tests: Iterable[PacketTest]) -> Iterator[PacketTest]:
    """Yield the tests, guards first, without those that another test of the same field implies."""
    equal = {test.at for test in tests if test.of == "meta" and test.holds}
    for test in tests:
        if test.of != "meta" or test.holds or test.at not in equal:
            yield test
