"""Completion of a filter at the cursor: the words that the parser accepts there, each with a note."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from nettop.errors import FilterError
from nettop.model.filter import vocabulary
from nettop.model.filter.parser import Expected, FilterParser
from nettop.model.filter.values import SERVICES

_WORD = re.compile(r"[^\s()<>=!&|\"]*")
_VALUES: dict[str, tuple[str, ...]] = {
    "state": tuple(sorted({*vocabulary.STATE_NAMES, *vocabulary.BARE_STATUS})),
    "status": tuple(sorted(vocabulary.STATUS_WORDS)),
    "proto": tuple(sorted(vocabulary.PROTOCOLS)),
    "event": vocabulary.EVENTS,
    "port": tuple(sorted(SERVICES)),
    "portrange": tuple(sorted(SERVICES)),
    "ether proto": tuple(sorted(vocabulary.ETHERTYPES)),
}
# The words that most filters begin with are offered first, the others follow by name.
_FIRST = (
    *("host", "net", "port", "src", "dst", "tcp", "udp", "icmp", "state", "nat", "rate", "bytes", "mark", "process"),
    *("chain", "verdict", "not", "("),
)
_POSITIONS = {word: position for position, word in enumerate(_FIRST)}


@dataclass(frozen=True, slots=True)
class Option:
    """A word that is accepted at the cursor, and its meaning ("" if that is obvious)."""

    word: str
    note: str


@dataclass(frozen=True, slots=True)
class Completion:
    """The options that may replace the word under the cursor, text[start:end]."""

    start: int
    end: int
    options: tuple[Option, ...]


def complete(text: str, cursor: int, kind: str) -> Completion:
    """Return what is accepted at the cursor in a filter for rows of this kind.

    Options begin with the part of the word left of the cursor. There are none inside quotes, and none after an error.
    """
    cursor = max(0, min(cursor, len(text)))
    start = cursor - len(_run(text[:cursor][::-1]))
    end = cursor + len(_run(text[cursor:]))
    expected = _expected(text[:start], kind)
    typed = text[start:cursor].lower()
    found = {option.word: option for option in _options(expected) if option.word.lower().startswith(typed)}
    return Completion(start, end, tuple(found.values()))


def _run(text: str) -> str:
    match = _WORD.match(text)
    return match.group() if match else ""


def _expected(before: str, kind: str) -> Expected:
    """Return what the parser expects where `before` ends; nothing if an error comes earlier."""
    try:
        parser = FilterParser(before, kind)
    except FilterError:
        return Expected()
    with suppress(FilterError):
        parser.parse()
    return parser.expected


def _options(expected: Expected) -> Iterator[Option]:
    """Yield the values, then the words: after `state ` a state is most likely."""
    for of in expected.values:
        for value in _VALUES.get(of, ()):
            yield Option(value, note(value, of))
    for word in sorted(expected.words, key=lambda word: _POSITIONS.get(word, len(_POSITIONS))):
        yield Option(word, note(word))


NOTES: Final = {
    "and": "both hold",
    "or": "one of them holds",
    "not": "does not hold",
    "(": "a group",
    ")": "end of the group",
    "host": "an address at any end",
    "net": "a network: 10.0.0.0/8, fd00::/8",
    "mask": "the network's mask: 255.255.255.0",
    "port": "a port, by number or name",
    "portrange": "ports: 8000-8080",
    "src": "the source (of the original tuple)",
    "dst": "the destination (of the original tuple)",
    "osrc": "source of the original tuple",
    "odst": "destination of the original tuple",
    "rsrc": "source of the reply tuple: who really answers",
    "rdst": "destination of the reply tuple: what the source became",
    "ip": "IPv4",
    "ip4": "IPv4",
    "ip6": "IPv6",
    "arp": "address resolution",
    "rarp": "reverse address resolution",
    "mpls": "labels before the network layer",
    "pppoed": "PPPoE discovery",
    "pppoes": "PPPoE sessions",
    "stp": "spanning tree",
    "ether": "a MAC address, or a protocol of Ethernet",
    "broadcast": "to all on the link",
    "multicast": "to a group on the link, or to all",
    "inbound": "received here",
    "outbound": "sent from here",
    "less": "at most this long, in bytes on the wire",
    "greater": "at least this long, in bytes on the wire",
    "proto": "a protocol, by name or number",
    "len": "bytes on the wire",
    "vlan": "with a VLAN tag, or a VLAN's number",
    "state": "state of the protocol: established, time_wait",
    "status": "a status bit, or 0xVALUE/MASK",
    "mark": "the mark: 0x1, 0x1/0xff",
    "zone": "the conntrack zone",
    "id": "the entry's id",
    "bytes": "of both directions: > 1M",
    "packets": "of both directions: > 10k",
    "rate": "bytes a second, both directions: > 10k",
    "age": "since it began: > 5m",
    "timeout": "time left, as of the last dump: < 30s",
    "helper": "the helper: ftp, sip",
    "label": "a label's bit: 2, or all as 0x5",
    "event": "new, update, destroy, of expectations exp-new …",
    "pid": "the process's number",
    "process": "the process's name, * and ? allowed",
    "netns": "the namespace, * and ? allowed",
    "device": "the device, * and ? allowed",
    "iface": "the device, * and ? allowed",
    "kind": "veth, bridge, macvlan, …",
    "mac": "a MAC address, * and ? allowed",
    "mtu": "the largest packet, in bytes",
    "drops": "packets dropped a second: > 0",
    "any": "a part of any text of the row",
    "chain": "the chain's name",
    "rule": 'a rule that it met, * and ? allowed: "*fw blocked*"',
    "verdict": "accept, drop, reject …",
    "family": "ip, ip6, inet, bridge …",
    "table": "the table's name",
    "hook": "prerouting, input, forward …",
    "backend": "nft, iptables-nft, iptables-legacy",
    "priority": "the chain's priority",
    "handle": "the rule's handle",
    "name": "the counter's name, * and ? allowed; a word alone is a part of it",
    "group": "the counter's group: conntrack, nft-set, tcp …",
    "value": "the counter's value: > 0",
    ">": "more than",
    ">=": "at least",
    "<": "less than",
    "<=": "at most",
    "=": "exactly",
    "!=": "anything but",
}
_STATUS_NOTES: Final = {
    "unreplied": "no answer yet",
    "replied": "answered",
    "seen_reply": "answered",
    "assured": "not dropped early when the table is full",
    "expected": "an expectation was waiting for it",
    "confirmed": "in the table",
    "nat": "source or destination rewritten",
    "snat": "source rewritten",
    "dnat": "destination rewritten",
    "dying": "being destroyed",
    "offload": "in a flowtable",
    "hw_offload": "in hardware",
    "offloaded": "in a flowtable or in hardware",
    "both": "source and destination rewritten",
    "port-only": "only ports rewritten",
    "none": "nothing rewritten",
}
_EVENT_NOTES: Final = {
    "new": "a flow began", "update": "a flow changed", "destroy": "a flow ended",
    "exp-new": "a helper expects a connection", "exp-upd": "an expectation changed",
    "exp-del": "an expectation ended",
}  # fmt: skip


def note(word: str, of: str = "") -> str:
    """Return a short explanation of a word of the language, or of a value of the field or type `of`."""
    if of in ("port", "portrange"):
        return f"port {SERVICES[word]}" if word in SERVICES else ""
    if of == "ether proto":
        return f"{vocabulary.ETHERTYPES[word]:#06x}"
    if of == "event":
        return _EVENT_NOTES.get(word, "")
    if not of and word in NOTES:
        return NOTES[word]
    if word in _STATUS_NOTES and (not of or of in ("state", "status")):
        return _STATUS_NOTES[word]
    if of == "status":
        return "a status bit"
    if of == "state" or word in vocabulary.BARE_STATES:
        return "a state"
    number = vocabulary.PROTOCOLS.get(word)
    return "" if number is None else f"protocol {number}"
