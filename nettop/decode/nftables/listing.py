"""The output of `nft -a -t list ruleset`: the text of each rule by the handles of its table and its own; flowtables.

The output is not always UTF-8, and comments in it are not escaped: they may hold lines that look like another rule's.
It is therefore parsed with the strings that the raw rules hold, and a chain that is not plain has no text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from nettop.decode.nftables.report import Report, parse_report
from nettop.text.sanitize import decoded

_TABLE = re.compile(r"^table (\S+) (.*?) \{(?: # handle (\d{1,20}))?(?:(?: #)? progname .*)?$")
_CHAIN = re.compile(r"^\tchain (.*) \{(?: # handle \d+)?$")
_FLOWTABLE = re.compile(r"^\tflowtable (\S+) \{(?: # handle (\d{1,20}))?$")
_FLOWTABLE_HOOK = re.compile(r"^hook (\w+) priority (?:filter)? ?([+-]?) ?(\d{0,9});?$")
_FLOWTABLE_LIST = re.compile(r"^(devices|flags) (?:= \{ )?(.*?)(?: \})?;?$")
_RULE_END = re.compile(r"^(.*) # handle (\d{1,20})$")
_HEADER = re.compile(r'^(?:type \S+ hook .*;|policy \w+;|flags .*;|comment ".*")$', re.DOTALL)
_BLOCK = re.compile(r"\b(?:jump|goto) \{$")  # of an implicit chain
_HIDDEN = re.compile("\0(\\d+)\0")

_QUOTED = re.compile(r'("[^"]*")')
_BRACED = re.compile(r"\{[^{}]*\}")
_COUNTER = re.compile(r"counter packets \d+ bytes \d+")
_USED = re.compile(r" used \d+ \w+")
_JUMP = re.compile(r"\b(?:jump|goto) ([^\s,}]+)")
_IMPLICIT = re.compile(r"\b(?:jump|goto) \{.*", re.DOTALL)

ChainKey = tuple[str, str, str]  # family, table, chain


@dataclass(frozen=True, slots=True)
class ListedRule:
    """One rule on one line, without its handle, and the rules of the implicit chain in it (`jump { … }`), if any."""

    text: str
    inner: tuple[ListedRule, ...] = ()


@dataclass(slots=True)
class ListedChain:
    """The rules of a chain by handle, and the handle of its table (None: not printed)."""

    table: int | None
    rules: dict[int, ListedRule] = field(default_factory=dict)


@dataclass(slots=True)
class Flowtable:
    """A flowtable. The packets of the flows in it go from device to device, past all later hooks."""

    family: str
    table: str
    name: str
    handle: int | None
    hook: str = "ingress"
    priority: int = 0
    devices: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()  # offload: to the hardware


@dataclass(slots=True)
class Listing:
    """The chains of a listing, without those that are not plain, its flowtables, and what could not be listed."""

    chains: dict[ChainKey, ListedChain] = field(default_factory=dict)
    flowtables: list[Flowtable] = field(default_factory=list)
    report: Report = field(default_factory=Report)


class _ListingParser:
    """The state of the parser: outside, in a table, or in a chain, where `lines` are those of an unfinished rule."""

    def __init__(self, hidden: list[str]) -> None:
        self.listing, self.hidden = Listing(), hidden
        self.table: tuple[str, str, int | None] | None = None
        self.chain: ListedChain | None = None
        self.flowtable: Flowtable | None = None
        self.key: ChainKey = ("", "", "")
        self.rejected: set[ChainKey] = set()
        self.lines: list[str] = []
        self.depth = 0  # of braces that the unfinished rule has opened

    def line(self, line: str) -> None:
        """Parse one line."""
        if self.chain is not None and line != "\t}":
            self._in_chain(line)
        elif line == "\t}":
            self._end_chain()
        elif self.flowtable is not None:
            _add_property(self.flowtable, line.strip())
        elif line == "}":
            self.table = None
        elif line.startswith("table ") and (found := _TABLE.match(line)):
            self.table = (found[1], found[2], int(found[3]) if found[3] else None)
        elif self.table is not None and (found := _CHAIN.match(line)):
            self._begin_chain(self.table, found[1])
        elif self.table is not None and (found := _FLOWTABLE.match(line)):
            self.flowtable = Flowtable(*self.table[:2], found[1], int(found[2]) if found[2] else None)
            self.listing.flowtables.append(self.flowtable)

    def _begin_chain(self, table: tuple[str, str, int | None], name: str) -> None:
        self.key = (table[0], table[1], name)
        if self.key in self.listing.chains:
            self.rejected.add(self.key)  # one of the two is part of a comment
        self.chain = self.listing.chains.setdefault(self.key, ListedChain(table[2]))

    def _end_chain(self) -> None:
        if self.lines:
            self.rejected.add(self.key)
        self.chain, self.flowtable, self.lines, self.depth = None, None, [], 0

    def _in_chain(self, line: str) -> None:
        part = line.strip("\t ") if line.startswith("\t\t") else line
        self.depth += _braces(part)
        end = _RULE_END.match(part) if self.depth == 0 else None
        if end is not None:
            self._end_rule(int(end[2]), [*self.lines, end[1]])
        elif self.lines or not _HEADER.match(part):
            self.lines.append(part)

    def _end_rule(self, handle: int, lines: list[str]) -> None:
        if self.chain is None or handle in self.chain.rules:
            self.rejected.add(self.key)
        else:
            self.chain.rules[handle] = _rule(lines, self.hidden)
        self.lines = []

    def result(self) -> Listing:
        """Return the listing, without the chains that are not plain."""
        for key in self.rejected:
            self.listing.chains.pop(key, None)
        return self.listing


def _add_property(flowtable: Flowtable, line: str) -> None:
    """Add a line of a flowtable: `hook ingress priority filter + 10`, `devices = { eth0, eth1 }`, `flags offload`."""
    if found := _FLOWTABLE_HOOK.match(line):
        flowtable.hook, flowtable.priority = found[1], int((found[2] + found[3]) or 0)
    elif found := _FLOWTABLE_LIST.match(line):
        words = tuple(word.strip('"') for word in found[2].split(", "))
        if found[1] == "devices":
            flowtable.devices = words
        else:
            flowtable.flags = words


def _braces(line: str) -> int:
    """Return the braces that a line opens minus those that it closes."""
    if "{" not in line and "}" not in line:
        return 0
    bare = _masked(line)
    return bare.count("{") - bare.count("}")


def _rule(lines: list[str], hidden: list[str]) -> ListedRule:
    start = next((at for at, line in enumerate(lines, 1) if _BLOCK.search(line)), 0) if len(lines) > 1 else 0
    inner = tuple(_inner(lines[start:-1], hidden)) if start else ()
    if inner:
        lines = [*lines[:start], *(f"{one.text};" for one in inner), lines[-1]]
    text = " ".join(lines).strip()
    return ListedRule(_HIDDEN.sub(lambda found: hidden[int(found[1])], text) if hidden else text, inner)


def _inner(lines: list[str], hidden: list[str]) -> Iterator[ListedRule]:
    """Yield the rules in an implicit chain. They have no handles: each ends where its braces are closed."""
    part: list[str] = []
    depth = 0
    for line in lines:
        part.append(line)
        depth += _braces(line)
        if depth == 0:
            yield _rule(part, hidden)
            part = []


def parse_listing(body: bytes, strings: Collection[str] = ()) -> Listing:
    """Return all rules of the listing; none if the text is no listing. Never raises.

    `strings`: those with a newline that the ruleset holds, such as comments. Any other is parsed as what it looks like.
    """
    report, body = parse_report(body)
    text, hidden = decoded(body), sorted(strings, key=len, reverse=True)
    for index, string in enumerate(hidden):
        text = text.replace(f'"{string}"', f'"\0{index}\0"')
    reader = _ListingParser(hidden)
    for line in text.split("\n"):
        reader.line(line)
    listing = reader.result()
    listing.report = report
    return listing


def _replace_unquoted(text: str, pattern: re.Pattern[str], replacement: str) -> str:
    parts = _QUOTED.split(text)
    return "".join(part if i % 2 else pattern.sub(replacement, part) for i, part in enumerate(parts))


def stateless(text: str) -> str:
    """Return the rule as `nft -s` prints it: counters and used quotas without their values."""
    if "packets" not in text and " used " not in text:
        return text
    return _replace_unquoted(_replace_unquoted(text, _COUNTER, "counter"), _USED, "")


def with_counters(text: str, packets: int, octets: int) -> str:
    """Return the rule as nft would print it with these values in its last counter. Those in braces are of others."""
    bare = _masked(text)
    while "{" in bare and (inner := _BRACED.sub(lambda braced: " " * len(braced[0]), bare)) != bare:
        bare = inner
    spans = [match.span() for match in _COUNTER.finditer(bare)]
    if not spans:
        return text
    first, last = spans[-1]
    return f"{text[:first]}counter packets {packets} bytes {octets}{text[last:]}"


def _masked(text: str) -> str:
    """Return the text with quoted parts blanked, at the same length."""
    if '"' not in text:
        return text
    return _QUOTED.sub(lambda quoted: " " * len(quoted[0]), text)


def jumps(text: str) -> tuple[str, ...]:
    """Return the chains that a rule's text jumps or goes to, also by an anonymous verdict map: each once, in order.

    Those of the rules of an implicit chain are not the rule's own.
    """
    if "jump " not in text and "goto " not in text:
        return ()
    return tuple(dict.fromkeys(_JUMP.findall(_IMPLICIT.sub("", _masked(text)))))
