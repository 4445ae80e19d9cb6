"""The groupings of flows: the columns of each key, its text, and the filter that selects one group's flows.

A group's identity is its key, written as one number, so that it never changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from nettop.batch import Array
from nettop.columns import HAVE_MARK, HAVE_OPORTS, HAVE_STATE, HAVE_STATUS
from nettop.linux.conntrack import IPS_DST_NAT, IPS_SRC_NAT
from nettop.linux.inet import WITH_PORTS
from nettop.model.filter.vocabulary import proto_filter, word_filter
from nettop.model.flows import derive
from nettop.model.flows.joins import FlowJoins
from nettop.model.table import Segment
from nettop.text import flow as words
from nettop.text import units
from nettop.text.address import address_text

GroupKey = tuple[int, ...]

_NO_NAT, _SNAT, _DNAT = 0, 1, 2
_STATEFUL = np.isin(np.arange(256), list(words.STATE_BASE))
_KNOWN_STATES = 10  # per protocol; higher numbers have no word in the filter language


@dataclass(slots=True)
class Lexicon:
    """Names of namespaces, and numbers of words that do not change (a provider's codes do)."""

    netns_label: Callable[[int], str]
    joins: FlowJoins
    numbers: dict[str, int] = field(default_factory=lambda: {"": 0})
    words: list[str] = field(default_factory=lambda: [""])

    def number(self, word: str) -> int:
        """Return the number of a word."""
        found = self.numbers.get(word)
        if found is None:
            found = self.numbers[word] = len(self.words)
            self.words.append(word)
        return found

    def ranks(self) -> Array:
        """Return the alphabetical rank of each word, by number."""
        ranks = np.empty(len(self.words), np.uint32)
        ranks[np.argsort(np.array([word.lower() for word in self.words]), kind="stable")] = np.arange(len(self.words))
        return ranks

    def host(self, address: str) -> str:
        """Return an address, with its name where one is known."""
        name = self.joins.host(address)
        return address if name is None else f"{address} {name}"


@dataclass(frozen=True, slots=True)
class GroupBy:
    """One grouping."""

    title: str  # the heading of the groups' names
    noun: str  # plural, for texts
    widths: tuple[int, ...]  # bits of each column of the key, most significant first
    columns: Callable[[derive.Data, Lexicon], Sequence[Array]]  # unsigned, as long as the data's
    name: Callable[[GroupKey, Lexicon], Segment]
    filter: Callable[[GroupKey, Lexicon], str]  # in the display-filter language
    worded: bool = False  # the key is a number of Lexicon.words

    def ident(self, key: GroupKey) -> int:
        """Return the key as one number."""
        number = 0
        for value, width in zip(key, self.widths, strict=True):
            number = number << width | value
        return number

    def key(self, number: int) -> GroupKey:
        """Return the key of a number."""
        values = []
        for width in reversed(self.widths):
            values.append(number & (1 << width) - 1)
            number >>= width
        return tuple(reversed(values))


def _no_hi(data: derive.Data) -> Array:
    """Return high halves of zeros, one byte each, for when there is no IPv6 address."""
    return np.zeros(len(data["have"]), np.uint8)


def _address(end: str) -> Callable[[derive.Data, Lexicon], Sequence[Array]]:
    def columns(data: derive.Data, lexicon: Lexicon) -> Sequence[Array]:
        return data["family"], data[f"{end}_hi"] if f"{end}_hi" in data else _no_hi(data), data[f"{end}_lo"]

    return columns


def _host_name(key: GroupKey, lexicon: Lexicon) -> Segment:
    return lexicon.host(address_text(*key)), "address"


def _host_filter(side: str) -> Callable[[GroupKey, Lexicon], str]:
    return lambda key, lexicon: f"{side} host {address_text(*key)}"


def _service(data: derive.Data, lexicon: Lexicon) -> Sequence[Array]:
    ported = derive.ported(data) & derive.has(data, HAVE_OPORTS)
    port = np.where(ported, data["odport"].astype(np.uint32) + 1, 0)  # 0: a protocol without ports
    return ((data["proto"].astype(np.uint32) << 17 | port).astype(np.uint32),)


def _service_name(key: GroupKey, lexicon: Lexicon) -> Segment:
    proto, port = key[0] >> 17, (key[0] & 0x1FFFF) - 1
    name = lexicon.joins.service(proto, port) if port >= 0 else None
    text = words.PROTO_NAMES[proto] + (f" {port}" if port >= 0 else "")
    return (text if name is None else f"{text} {name}"), "proto"


def _service_filter(key: GroupKey, lexicon: Lexicon) -> str:
    proto, port = key[0] >> 17, (key[0] & 0x1FFFF) - 1
    if port >= 0:
        return f"{proto_filter(proto)} and dst port {port}"
    none = " and not dst portrange 0-65535" if proto in WITH_PORTS else ""
    return proto_filter(proto) + none


def _nat(data: derive.Data, lexicon: Lexicon) -> Sequence[Array]:
    """Return kind and address by the status bits, as the filter does; with SNAT and DNAT the source address counts."""
    status = np.where(derive.has(data, HAVE_STATUS), derive.column(data, "status"), 0)
    snat, dnat = status & IPS_SRC_NAT != 0, status & IPS_DST_NAT != 0
    kind = np.where(snat, _SNAT, np.where(dnat, _DNAT, _NO_NAT)).astype(np.uint16)
    family = data["family"].astype(np.uint16)
    halves = [
        np.where(snat, derive.column(data, f"rdst_{half}"), np.where(dnat, derive.column(data, f"rsrc_{half}"), 0))
        for half in (("hi", "lo") if "rdst_hi" in data else ("lo",))
    ]
    if len(halves) == 1:
        halves.insert(0, _no_hi(data))
    return (np.where(kind == _NO_NAT, 0, kind << np.uint16(8) | family).astype(np.uint16), *halves)


def _nat_name(key: GroupKey, lexicon: Lexicon) -> Segment:
    if not key[0]:
        return "none", "dim"
    kind = "SNAT" if key[0] >> 8 == _SNAT else "DNAT"
    return f"{kind} {lexicon.host(address_text(key[0] & 255, *key[1:]))}", "nat"


def _nat_filter(key: GroupKey, lexicon: Lexicon) -> str:
    if not key[0]:
        return "not nat"
    address = address_text(key[0] & 255, *key[1:])
    return f"snat and rdst host {address}" if key[0] >> 8 == _SNAT else f"dnat and not snat and rsrc host {address}"


def _state(data: derive.Data, lexicon: Lexicon) -> Sequence[Array]:
    """Return protocol << 8 | state where a protocol has states (0: unknown or without a word), else the status code."""
    codes = derive.state_codes(data).astype(np.uint16)
    stateful = _STATEFUL[data["proto"]]
    known = derive.has(data, HAVE_STATE) & (codes & 15 < _KNOWN_STATES)
    of_proto = data["proto"].astype(np.uint16) << np.uint16(8) | np.where(known, codes, 0)
    return (np.where(stateful, of_proto, codes).astype(np.uint16),)


def _state_name(key: GroupKey, lexicon: Lexicon) -> Segment:
    proto, code = key[0] >> 8, key[0] & 255
    if not proto:
        return (f"other {words.STATE_LABELS[code]}" if code else units.ABSENT), ""
    return f"{words.PROTO_NAMES[proto]} {words.STATE_LABELS[code]}", ""


def _state_filter(key: GroupKey, lexicon: Lexicon) -> str:
    proto, code = key[0] >> 8, key[0] & 255
    if not proto:
        stateful = " or ".join(proto_filter(one) for one in words.STATE_BASE)
        return f"not ({stateful}) and {_STATUS_FILTERS[code]}"
    if code:
        return f"{proto_filter(proto)} and state {words.STATE_LABELS[code].lower()}"
    base = words.STATE_BASE[proto]
    known = " or ".join(f"state {words.STATE_LABELS[base + n].lower()}" for n in range(_KNOWN_STATES))
    return f"{proto_filter(proto)} and not ({known})"


_STATUS_FILTERS = {
    words.STATE_NONE: "not (unreplied or replied)",
    words.STATE_UNREPLIED: "unreplied and not assured",
    words.STATE_REPLIED: "replied and not assured",
    words.STATE_ASSURED: "assured",
}


def _process(data: derive.Data, lexicon: Lexicon) -> Sequence[Array]:
    codes, names = lexicon.joins.process_codes(data)
    return (np.array([lexicon.number(name) for name in names], np.uint32)[codes],)


def _word_name(role: str, nothing: str) -> Callable[[GroupKey, Lexicon], Segment]:
    def name(key: GroupKey, lexicon: Lexicon) -> Segment:
        word = lexicon.words[key[0]]
        return (word, role) if word else (nothing, "dim")

    return name


def _netns(data: derive.Data, lexicon: Lexicon) -> Sequence[Array]:
    """Return the number of each namespace's label; "" is the namespace in which nettop was started."""
    codes = data["netns"]
    used = np.bincount(codes, minlength=1).nonzero()[0]
    numbers = np.zeros(int(used[-1]) + 1 if len(used) else 1, np.uint32)
    numbers[used] = [lexicon.number(lexicon.netns_label(int(code))) for code in used]
    return (numbers[codes],)


def _mark(data: derive.Data, lexicon: Lexicon) -> Sequence[Array]:
    """Return the mark; 0 where there is none, since the kernel does not send a mark of 0."""
    return (np.where(derive.has(data, HAVE_MARK), derive.column(data, "mark"), 0).astype(np.uint32),)


GROUP_BY: dict[str, GroupBy] = {
    "source": GroupBy("SOURCE", "sources", (8, 64, 64), _address("osrc"), _host_name, _host_filter("src")),
    "destination": GroupBy("DESTINATION", "destinations", (8, 64, 64), _address("odst"), _host_name,
                           _host_filter("dst")),
    "service": GroupBy("SERVICE", "services", (32,), _service, _service_name, _service_filter),
    "nat": GroupBy("NAT ADDRESS", "NAT addresses", (16, 64, 64), _nat, _nat_name, _nat_filter),
    "state": GroupBy("STATE", "states", (16,), _state, _state_name, _state_filter),
    "process": GroupBy("PROCESS", "processes", (32,), _process, _word_name("accent", "not known"),
                       lambda key, lexicon: word_filter("process", lexicon.words[key[0]]), worded=True),
    "mark": GroupBy("MARK", "marks", (32,), _mark, lambda key, lexicon: (hex(key[0]), "number"),
                    lambda key, lexicon: f"mark {key[0]:#x}"),
    "zone": GroupBy("ZONE", "zones", (16,), lambda data, lexicon: (derive.column(data, "zone"),),
                    lambda key, lexicon: (str(key[0]), "number"), lambda key, lexicon: f"zone {key[0]}"),
    "netns": GroupBy("NAMESPACE", "namespaces", (32,), _netns, _word_name("accent", "this host's"),
                     lambda key, lexicon: word_filter("netns", lexicon.words[key[0]]), worded=True),
    "proto": GroupBy("PROTO", "protocols", (8,), lambda data, lexicon: (data["proto"],),
                     lambda key, lexicon: (words.PROTO_NAMES[key[0]], "proto"),
                     lambda key, lexicon: proto_filter(key[0])),
}  # fmt: skip
GROUPS: dict[str, str] = {key: by.title for key, by in GROUP_BY.items()}
