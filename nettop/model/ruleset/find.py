"""Finding rules: by their text, or by an address, a port or a device as they match it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

import numpy as np

from nettop.kinds import TRACE_PREFIX
from nettop.model.ruleset.picture import RuleView
from nettop.model.ruleset.rule_tree import HEADING, heading_ident, is_long, verdict_of
from nettop.model.ruleset.ruleset import Ruleset
from nettop.model.ruleset.selection import users_of
from nettop.model.ruleset.sets.contents import SetContents, SetsUsed, ipsets_of, sets_of
from nettop.model.ruleset.words import rule_text

_V4 = re.compile(r"(?<![\w.])(\d{1,3}(?:\.\d{1,3}){3})(?:/(\d{1,3}(?:\.\d+){0,3})|-(\d+\.\d+\.\d+\.\d+))?(?![\w.])")
_V6 = re.compile(r"(?<![\w:.])([0-9a-f]*:[0-9a-f:]*:[0-9a-f.:]*)(?:/([0-9a-f:]+)|-([0-9a-f:.]+))?(?![\w.])")
_MASKED = re.compile(r" & (\S+) (?:==|(!=)) ([\da-f.:]+)")  # nft's `ip saddr & 255.0.255.0 == 10.0.5.0`
_PORT = r"(?:ports?|proto-(?:src|dst))"
_PORTS = re.compile(rf"{_PORT} (?:!= )?(?:v?map )?([<>]=? )?(\{{[^{{}}]*\}}|[\d:,\-]+)|(?:\.\d+|\bto |\]):(\d[\d-]*)")
_CONCATENATED = re.compile(r"([a-z][\w-]*(?: [\w-]+)* \. [^{}@]*?) ((?:!= )?)(?:v?map )?\{([^{}]*)\}")
_ENDS_WITH_PORT = re.compile(rf"{_PORT}$")
_RANGE = re.compile(r"\s*(\d{1,9})(?:[-:](\d{1,9}))?")  # not more: it may be any text
_TEXTS = re.compile(r'"[^"]*"|--(?:comment|log-prefix|nflog-prefix|string) [^\s"]+')
# `-i eth+`, `-o ! eth+` of ebtables, or "eth*" of nft, also in a set
_WILDCARD = re.compile(
    r'(?:-[io]|--(?:physdev|logical)-(?:in|out)) (?:! )?([\w.-]*)\+|(?<!prefix )(?<!comment )"([\w.-]*)\*"'
)
_NEGATED = re.compile(r"(?:! --?[\w-]+|--?[\w-]+ !|!=) (?:\{[^{}]*\}|\S+)")
_KEYWORD = re.compile(r"^(?:(?:src|dst) )?(?:host|net|port|dev) (?=\S)")
_NUMBER = re.compile(r":?(\d{1,5})(?:-(\d{1,5}))?")
_NOT_WITHIN = r"(?<![\w.])(?<![\da-f]/)(?<!::)"  # an address or network
_LAST_PORT = 65_535
# IP version, or 0 for ports; first and last value; the rule matches all others; an address and a mask with gaps
_Span = tuple[int, int, int, bool, tuple[int, int] | None]


@dataclass(frozen=True, slots=True)
class Hit:
    """A rule that was found. `chain` is the row of the table of chains that shows it."""

    chain: int  # ident
    hooked: bool  # that chain is a base chain, which the matrix shows too
    rule: int | None  # ident; None: the chain itself
    headings: tuple[int, ...]  # idents of the headings above it: they must be unfolded
    folded: bool  # the tree is so long that they are folded at first


@dataclass(frozen=True, slots=True)
class _Parts:
    """The searchable parts of a rule."""

    text: str  # in lower case
    spans: tuple[_Span, ...]
    wildcards: tuple[str, ...]  # the start of a device's name


class RuleFinder:
    """Finds rules of all chains. `order` has the rows of the table of chains (indices)."""

    def __init__(self, ruleset: Ruleset, order: Callable[[], Sequence[int]]) -> None:
        self._ruleset, self._order = ruleset, order
        self._layout = -1
        self._known: dict[str, _Parts] = {}  # by the text searched
        self._parts: list[_Parts] = []  # by cell
        self._hits: list[tuple[int, Hit]] = []  # every rule with its cell, in the order of traversal
        self._by_rule: dict[int | None, Hit] = {}  # by ident
        self._last: tuple[str, list[tuple[int, Hit]]] = ("", [])
        self._held = "", SetContents()  # a text, and the elements that hold it
        self.version = 0  # grows with what is known of sets

    def hold(self, text: str, contents: SetContents) -> None:
        """Take the elements of sets that hold a text: the rules that use these sets match it."""
        self._held, self._last, self.version = (text, contents), ("", []), self.version + 1

    def used(self) -> SetsUsed:
        """Return the sets that rules use."""
        picture = self._ruleset.picture
        keys = [(picture.chains[rule.chain].table_key[1:], rule) for rule in picture.rules]
        return SetsUsed(
            frozenset((*key, name) for key, rule in keys for name in sets_of(rule.raw, None)),
            frozenset(name for _, rule in keys for name in ipsets_of(rule.text)),
        )

    def found(self, text: str) -> list[tuple[int, Hit]]:
        """Return the rules that match (cell and hit), in the order of traversal. An empty text only prepares."""
        if self._layout != self._ruleset.layout_version:
            self._prepare()
        if self._last[0] != text:
            cells = self._cells(text.strip().lower())
            if self._held[0] == text:
                cells |= {*np.flatnonzero(users_of(self._ruleset, self._held[1])).tolist()}
            self._last = text, [one for one in self._hits if one[0] in cells]
        return self._last[1]

    def every(self) -> list[tuple[int, Hit]]:
        """Return all rules (cell and hit), in the order of traversal."""
        self.found("")
        return self._hits

    def hit(self, rule: int) -> Hit | None:
        """Return where a rule is shown: the first chain below which it is; None: it is gone."""
        self.found("")
        return self._by_rule.get(rule)

    def place(self, keys: Mapping[str, str | int | None]) -> Hit | None:
        """Return where a rule, or a chain, is shown, by the keys of JSON; of a table its first chain."""
        for chain in self._ruleset.picture.chains:
            names = {"family": chain.family, "table": chain.table, "chain": chain.name, "backend": chain.backend}
            if any(keys.get(key, name) != name for key, name in names.items()):
                continue
            if "number" not in keys:
                return Hit(chain.ident, chain.hook is not None, None, (), False)
            for rule in self._ruleset.picture.rules_of(chain):
                if (rule.number, rule.handle) == (keys["number"], keys["handle"]):
                    return self.hit(rule.ident)
        return None

    def _prepare(self) -> None:
        self._layout, self._last = self._ruleset.layout_version, ("", [])
        texts = [_searched(rule) for rule in self._ruleset.picture.rules]
        self._known = {text: self._known.get(text) or _parts(text) for text in texts}
        self._parts = [self._known[text] for text in texts]
        seen: set[int] = set()
        chains = self._ruleset.picture.chains
        shown = [top for top in self._order() if not chains[top].table.startswith(TRACE_PREFIX)]  # not of a trace
        self._hits = [hit for top in shown for hit in self._hits_of(top, seen)]
        self._by_rule = {hit.rule: hit for _, hit in self._hits}

    def _hits_of(self, top: int, seen: set[int]) -> Iterator[tuple[int, Hit]]:
        """Yield the rules below a chain that are not in `seen`, and add them to it."""
        picture, tree = self._ruleset.picture, self._ruleset.tree(top)
        chain, folded = picture.chains[top], is_long(tree)
        above: tuple[int, ...] = ()
        for row in tree:
            if row.jump == HEADING:
                above = (*above[: row.depth - 1], heading_ident(picture.chains[row.chain]))
            elif row.rule is not None and row.rule not in seen:
                seen.add(row.rule)
                yield (
                    row.cell,
                    Hit(chain.ident, chain.hook is not None, picture.rules[row.rule].ident, above[: row.depth], folded),
                )

    def _cells(self, text: str) -> set[int]:
        text = asked_text(text)
        if not text:
            return set()
        with suppress(ValueError):
            return self._overlapping(*_asked_addresses(text))
        if number := _NUMBER.fullmatch(text):
            first, last = number.groups()
            word = re.compile(rf"{_NOT_WITHIN}{re.escape(text)}(?![\w.])")
            named = {cell for cell, part in enumerate(self._parts) if text in part.text and word.search(part.text)}
            return named | self._overlapping(0, int(first), int(last or first))
        return {
            cell
            for cell, part in enumerate(self._parts)
            if text in part.text or any(text.startswith(start) for start in part.wildcards)
        }

    def _overlapping(self, version: int, first: int, last: int) -> set[int]:
        """Return the cells of rules that match one of first to last."""
        alike = -1 << (first ^ last).bit_length()  # the bits that all of them have in common
        return {
            cell
            for cell, part in enumerate(self._parts)
            for kind, low, high, others, gaps in part.spans
            if kind == version
            and (first <= low and high <= last if others else low <= last and first <= high)
            and (gaps is None or not (first ^ gaps[0]) & gaps[1] & alike)
        }


def _asked_addresses(text: str) -> tuple[int, int, int]:
    """Return version, first and last of an address, a network, or `10.0.0.1-10.0.0.9`. ValueError for others."""
    start, dash, end = text.partition("-")
    if not dash:
        network = ip_network(text, strict=False)
        return network.version, int(network[0]), int(network[-1])
    first, last = ip_address(start), ip_address(end)
    if first.version != last.version or int(first) > int(last):
        raise ValueError
    return first.version, int(first), int(last)


def asked_text(text: str) -> str:
    """Return `10.0.0.5` of `host 10.0.0.5` and `80` of `:80`."""
    text = _KEYWORD.sub("", text.strip().lower())
    return text[1:] if _NUMBER.fullmatch(text) and text[0] == ":" else text


def _searched(rule: RuleView) -> str:
    """Return what is searched of a rule: words, comment, verdict and target, sets; in lower case."""
    sets = () if rule.raw is None else (name for name in rule.raw.sets if not name.startswith("__"))
    return "\n".join((rule_text(rule), rule.comment or "", verdict_of(rule), *rule.targets, *sets)).lower()


def _parts(text: str) -> _Parts:
    wildcards = _WILDCARD.findall(text) if "+" in text or "*" in text else ()
    words = text.partition("\n")[0]
    spans = tuple(_spans(_TEXTS.sub("", words) if '"' in words or "--" in words else words))
    return _Parts(text, spans, tuple(of_iptables or of_nft for of_iptables, of_nft in wildcards))


def _spans(text: str) -> Iterator[_Span]:
    """Yield the addresses and ports in a rule's text without quoted parts."""
    text = _MASKED.sub(lambda found: f" {found[2] or ''} {found[3]}/{found[1]}", text) if " & " in text else text
    negated = [match.span() for match in _NEGATED.finditer(text)] if "!" in text else []

    def others(match: re.Match[str]) -> bool:
        return any(start <= match.start() < end for start, end in negated)

    for match in _V4.finditer(text) if "." in text else ():
        with suppress(ValueError):
            version, low, high, gaps = _addresses(*match.groups(""))
            yield version, low, high, others(match), gaps
    for match in _V6.finditer(text) if text.count(":") > 1 else ():
        with suppress(ValueError):
            version, low, high, gaps = _addresses(*match.groups(""))
            yield version, low, high, others(match), gaps
    if " . " in text:
        for match in _CONCATENATED.finditer(text):
            yield from _ports_in_concatenation(match[1].split(" . "), match[3], bool(match[2]))
        text = _CONCATENATED.sub("", text)
    for match in _PORTS.finditer(text) if "port" in text or ":" in text or "proto-" in text else ():
        for element in (match[2] or match[3]).strip("{}").split(","):
            if found := _RANGE.match(element):
                first, last = found.groups()
                yield 0, *_ports(match[1], int(first), int(last or first)), "!=" in match[0] or others(match), None


def _ports_in_concatenation(keys: list[str], elements: str, others: bool) -> Iterator[_Span]:
    """Yield the ports of `{ 10.0.0.1 . 80-90, … }`, or of such a map, whose keys are `ip saddr`, `tcp dport`."""
    places = [at for at, key in enumerate(keys) if _ENDS_WITH_PORT.search(key)]
    for element in elements.split(",") if places else ():
        values = element.partition(" : ")[0].split(" . ")
        for found in (_RANGE.match(values[at]) for at in places if at < len(values)):
            if found:
                yield 0, int(found[1]), int(found[2] or found[1]), others, None


def _ports(operator: str | None, first: int, last: int) -> tuple[int, int]:
    """Return the span of `80-90`, `> 80`, `>= 80`, `< 80` or `<= 80`."""
    if operator is None:
        return first, last
    inner = "=" not in operator
    return (first + inner, _LAST_PORT) if operator[0] == ">" else (0, first - inner)


def _addresses(address: str, length: str, last: str) -> tuple[int, int, int, tuple[int, int] | None]:
    """Return the span of `10.0.0.0`, `10.0.0.0/8`, `10.0.0.0/255.0.255.0` or `10.0.0.1-10.0.0.9`, and its gaps."""
    version, bits = (6, 128) if ":" in address else (4, 32)
    first = _number(address)
    if last:
        return version, first, _number(last), None
    if "." not in length and ":" not in length:
        host = (1 << (bits - int(length or bits))) - 1
        return version, first & ~host, first | host, None
    mask = _number(length)
    free = ~mask & ((1 << bits) - 1)
    host = (1 << free.bit_length()) - 1  # of a mask with gaps all from the first gap on
    return version, first & ~host, first | host, None if free == host else (first, mask)


def _number(address: str) -> int:
    """Return an address as a number. IPv4 is 10 times as fast as ipaddress, which counts in 10,000 rules."""
    if ":" in address:
        return int(IPv6Address(address))
    a, b, c, d = map(int, address.split("."))
    return a << 24 | b << 16 | c << 8 | d
