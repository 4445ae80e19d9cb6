"""Values read as nodes, after the word of a field as its type says, and after the qualifiers of an endpoint."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatch, translate
from typing import Final

from nettop.model.filter import values, vocabulary
from nettop.model.filter.byte_nodes import ethertype_node
from nettop.model.filter.nodes import AndOr, Both, Compare, InNet, InPorts, Node, Not, Word, every
from nettop.model.filter.vocabulary import Field
from nettop.text.units import listed, parse_duration, parse_size

MAX_LABEL = 127  # XT_CONNLABEL_MAXBIT, linux/netfilter/xt_connlabel.h
_NAMED = 12  # values in the line that refuses another
_HEX = re.compile("0x[0-9a-f]{1,32}")


def field_node(field: Field, word: str, operator: str, text: str) -> Node:
    """Return the node for `word [operator] text`. The message of a ValueError is for the user."""
    return _READERS[field.value](field, word, operator, text)


def state_node(text: str) -> Node:
    """Return the node for a state of the protocol's state machine, or for a word of the status."""
    loose = _loose(text)
    status = next((name for name in vocabulary.STATUS_WORDS if _loose(name) == loose), None)
    known = any(_loose(name) == loose for name in vocabulary.STATE_NAMES)
    if status is None and not known:
        common = [*sorted(vocabulary.BARE_STATES), *sorted(vocabulary.BARE_STATUS)]
        raise ValueError(f"“{text}” is not a known state; there are {', '.join(common)}")
    word = Word("state", lambda word: _loose(word) == loose)
    if status is None:
        return word
    return AndOr(status_node(status), (("or", word),)) if known else status_node(status)


def status_node(text: str) -> Node:
    """Return the node for a word of the status bits."""
    loose = _loose(text)
    for name, (bits, is_set) in vocabulary.STATUS_WORDS.items():
        if _loose(name) == loose:
            return Compare("status", "!=" if is_set else "=", 0, bits)
    raise ValueError(f"“{text}” is not a known status; there are {', '.join(vocabulary.STATUS_WORDS)}")


def nat_node(kind: str) -> Node:
    """Return the node for one of NAT_KINDS: the end that NAT has rewritten, or only a port."""
    if kind == "both":
        return every((status_node("snat"), status_node("dnat")))
    if kind == "port-only":
        return Word("nat", re.compile(".* port").fullmatch)  # text.flow.nat_label
    return Not(status_node("nat")) if kind == "none" else status_node(kind)


def _measure(read: Callable[[str], int | float]) -> Callable[[Field, str, str, str], Node]:
    """Return the reader of a quantity, which must be compared."""

    def node(field: Field, word: str, operator: str, text: str) -> Node:
        value = read(text)
        if not operator:
            raise ValueError(f"compare it: {word} > {text}")
        return Compare(field.name, operator, value, default=field.default)

    return node


def _number(field: Field, word: str, operator: str, text: str) -> Node:
    value = values.integer(text)
    _within(text, word, (value,), 0, field.maximum)
    return Compare(field.name, operator or "=", value, default=field.default)


def _vlan(field: Field, word: str, operator: str, text: str) -> Node:
    """Return the node for a VLAN's number, which any tag may have."""
    outer = _number(field, word, operator, text)
    if operator == "!=":
        return every((outer, Not(Compare("inner_vlan", "=", values.integer(text)))))
    return AndOr(outer, (("or", Compare("inner_vlan", operator or "=", values.integer(text))),))


def _signed(field: Field, word: str, operator: str, text: str) -> Node:
    value = values.integer(text.removeprefix("-")) * (-1 if text.startswith("-") else 1)
    _within(text, word, (value,), -field.maximum - 1, field.maximum)
    return Compare(field.name, operator or "=", value, default=field.default)


def _within(text: str, word: str, found: Iterable[int], minimum: int, maximum: int, form: str = "d") -> None:
    if not all(minimum <= value <= maximum for value in found):
        raise ValueError(f"“{text}” is beyond what {word} can be ({minimum}–{maximum:{form}})")


def _masked(field: Field, word: str, operator: str, text: str) -> Node:
    value, bits = values.masked(text)
    _within(text, word, (value, bits) if "/" in text else (value,), 0, field.maximum, "#x")
    return Compare(field.name, operator or "=", value, bits, field.default)


def _words(exact: bool) -> Callable[[Field, str, str, str], Node]:
    """Return the reader of a name with wildcards * and ?."""

    def node(field: Field, word: str, operator: str, text: str) -> Node:
        _check_known(field, text)
        pattern = re.compile(translate(text.replace("[", "[[]")), 0 if exact else re.IGNORECASE)
        return _maybe_not(word, operator, Word(field.name, pattern.fullmatch, text))

    return node


def _label(field: Field, word: str, operator: str, text: str) -> Node:
    """Return the node for `0x5` (all labels as one number, as shown) or `2` (this label, with or without others)."""
    if not text.isdigit():
        return _words(exact=True)(field, word, operator, text)
    bit = values.integer(text)
    if bit > MAX_LABEL:
        raise ValueError(f"“{text}” is not a label; there are 0 to {MAX_LABEL}")
    labelled = lambda labels: _HEX.fullmatch(labels) and int(labels, 16) >> bit & 1  # noqa: E731
    return _maybe_not(word, operator, Word("label", labelled))


def _address(field: Field, word: str, operator: str, text: str) -> Node:
    """Return the node for an address of the row: itself, or in a network."""
    wanted = values.net(text) if word == "net" or "/" in text else values.address(text)

    def is_in(other: str) -> bool:
        found = values.address(other)
        return found.family == wanted.family and found.address & wanted.mask == wanted.address

    return _maybe_not(word, operator, Word(field.name, is_in, text))


def _check_known(field: Field, text: str) -> None:
    known = vocabulary.VALUES.get(field.name)
    wanted, *_ = text.lower().split() or [""]
    unlisted = field.name == "verdict" and ("*" in text or "?" in text)
    if known is not None and not unlisted and not any(fnmatch(value, wanted) for value in known):
        raise ValueError(f"“{text}” is not a known {field.name}; there are {listed(known, _NAMED)}")


def _status(field: Field, word: str, operator: str, text: str) -> Node:
    if text[:1].isdigit():
        return _masked(field, word, operator, text)
    return _maybe_not(word, operator, status_node(text))


def _protocol(field: Field, word: str, operator: str, text: str) -> Node:
    name = text.lstrip("\\").lower()
    number = vocabulary.PROTOCOLS.get(vocabulary.PROTOCOL_ALIASES.get(name, name))
    if number is None:
        if not text[:1].isdigit() or values.integer(text) > 255:
            raise ValueError(
                f"“{text}” is not a known protocol; say a number up to 255, or {', '.join(vocabulary.PROTOCOLS)}"
            )
        number = values.integer(text)
    return Compare(field.name, operator or "=", number)


def _maybe_not(word: str, operator: str, node: Node) -> Node:
    if operator in ("", "=", "=="):
        return node
    if operator == "!=":
        return Not(node)
    raise ValueError(f"{word} has no order: = and != only")


def _loose(text: str) -> str:
    """Return a name without case, _ and -: time_wait, time-wait and TIMEWAIT are one state."""
    return text.lower().replace("_", "").replace("-", "")


_READERS: dict[str, Callable[[Field, str, str, str], Node]] = {
    "proto": _protocol,
    "size": _measure(parse_size),
    "seconds": _measure(parse_duration),
    "number": _number,
    "vlan": _vlan,
    "signed": _signed,
    "masked": _masked,
    "word": _words(exact=False),
    "exact-word": _words(exact=True),
    "label": _label,
    "address": _address,
    "state": lambda field, word, operator, text: _maybe_not(word, operator, state_node(text)),
    "status": _status,
}


@dataclass(frozen=True, slots=True)
class Qualifiers:
    """The qualifiers of a primitive. A following value without qualifiers inherits them."""

    sides: tuple[str, ...] = ("any",)
    every: bool = False
    type: str = ""  # "": only a direction, followed by an address or a network
    protocol: tuple[Node, ...] = ()


def _host(text: str) -> InNet | InPorts | Both:
    """Read an address, a network, or either with a port."""
    pair = values.with_port(text) if text.count(":") == 1 or text.startswith("[") else None
    if pair is None:
        return InNet(values.net(text) if "/" in text else values.address(text))
    host, number = pair
    ports = InPorts(number, number)
    return ports if host is None else Both(InNet(host), ports)


def ethertype(text: str) -> Node:
    """Read a number or a name after `ether proto`."""
    number = vocabulary.ETHERTYPES.get(text.lstrip("\\").lower())
    if number is None and (not text[:1].isdigit() or values.integer(text) > 0xFFFF):
        names = ", ".join(vocabulary.ETHERTYPES)
        raise ValueError(f"“{text}” is not a known Ethernet protocol; say a number up to 0xffff, or {names}")
    return ethertype_node(values.integer(text) if number is None else number)


def _ports(text: str) -> InPorts:
    return InPorts(*values.portrange(text))


ENDPOINT_TESTS: Final[dict[str, Callable[[str], InNet | InPorts | Both]]] = {
    "": _host,
    "host": _host,
    "net": lambda text: InNet(values.net(text)),
    "port": _ports,
    "portrange": _ports,
}
