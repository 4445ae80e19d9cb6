"""The output of `iptables-save -c` of every xtables family, nft and legacy: chains, rules and counters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from nettop.decode.nftables.report import Handles, parse_report
from nettop.text.sanitize import decoded

_CHAIN = re.compile(r"^:(.+) ([A-Z]+|-)(?: \[(\d{1,20}):(\d{1,20})\])?$", re.DOTALL)
_RULE = re.compile(r"^(?:\[(\d{1,20}):(\d{1,20})\] )?-A (.*)$", re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\\'])')  # the tool's escapes; our own \\xNN is not changed
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_CHAIN_OPTIONS = frozenset({"-A", "-j", "-g", "--jump", "--goto"})  # a name follows, never in quotes
# A text of the user follows, which may look like an option: the tools quote it only if it has other characters.
_TEXT_OPTIONS = frozenset(
    {"--comment", "--log-prefix", "--nflog-prefix", "--ulog-prefix", "--string", "--hex-string", "--name", "--helper"}
    | {"--match-set", "--label", "--hashlimit-name", "--path", "--led-trigger-id", "--rateest-name"}
)
_MAX_COUNT = (1 << 64) - 1
_MAX_NAME = 256  # linux/netfilter/nf_tables.h NFT_NAME_MAXLEN


@dataclass(frozen=True, slots=True)
class SavedRule:
    """One `-A` line: the text after the name of the chain, and the counters before it (None without -c)."""

    number: int  # from 1 in its chain
    text: str
    packets: int | None
    bytes: int | None
    comment: str | None
    target: str | None  # after -j or -g: a chain or a target of iptables
    goes: bool = False  # after -g


@dataclass(slots=True)
class SavedChain:
    """One `:` line and its rules. `policy` is None for a user chain."""

    table: str
    name: str
    policy: str | None  # as printed: ACCEPT or DROP
    packets: int  # that the policy applied to
    bytes: int
    rules: list[SavedRule] = field(default_factory=list)


@dataclass(slots=True)
class SavedRuleset:
    """A whole output: chains by (table, chain) in their order. `handles` and `failures`: see Report."""

    chains: dict[tuple[str, str], SavedChain] = field(default_factory=dict)
    handles: Handles | None = None
    failures: tuple[str, ...] = ()


def _count(digits: str | None) -> int:
    """Return the value of a counter, at most 64 bits."""
    return min(int(digits or "0"), _MAX_COUNT)


def words(line: str) -> list[str] | None:
    """Return the words of a line, a quoted text being one; None if a quoted text does not end in the line."""
    if '"' not in line:
        return line.split(" ")
    found, at = list[str](), 0
    while at < len(line):
        quoted = None
        if line[at] == '"' and not (found and found[-1] in _CHAIN_OPTIONS):
            quoted = _QUOTED.match(line, at)
            if quoted is None:
                return None
        end = quoted.end() if quoted else (line.find(" ", at) + 1 or len(line) + 1) - 1
        found.append(line[at:end])
        at = end + 1
    return found


def _records(body: str) -> Iterator[str]:
    """Yield the lines. Those that a newline in a quoted text, such as a comment, divides are joined again."""
    parts: list[str] = []
    for line in body.split("\n"):
        if not parts and not line.startswith(("[", "-A")):
            yield line
            continue
        parts.append(line)
        record = "\n".join(parts)
        if words(record) is not None:
            yield record
            parts = []
    if parts:
        yield "\n".join(parts)


def _options(text: str) -> list[tuple[str, str]]:
    """Return the options of a rule that a chain or a text of the user follows, with that."""
    split = iter(words(text) or ())
    return [(word, next(split, "")) for word in split if word in _CHAIN_OPTIONS or word in _TEXT_OPTIONS]


def _comment(value: str) -> str:
    return _ESCAPED.sub(r"\1", value[1:-1]) if value.startswith('"') else value


def _chain_of(saved: SavedRuleset, table: str, rest: str) -> tuple[SavedChain | None, str]:
    """Return the declared chain that `-A` names, and the text after it. A chain's name may contain spaces."""
    name, _, after = rest.partition(" ")
    while True:
        chain = saved.chains.get((table, name))
        if chain is not None or not after or len(name) > _MAX_NAME:
            return chain, after
        more, _, after = after.partition(" ")
        name = f"{name} {more}"


def _add_rule(saved: SavedRuleset, table: str, found: re.Match[str]) -> None:
    chain, text = _chain_of(saved, table, found[3])
    if chain is None:
        return
    packets, octets = (None, None) if found[1] is None else (_count(found[1]), _count(found[2]))
    options = _options(text)
    target, goes = next(
        ((value, one in ("-g", "--goto")) for one, value in options if one in _CHAIN_OPTIONS), (None, False)
    )
    comments = [_comment(value) for option, value in options if option == "--comment"]  # a rule may have several
    comment = " ".join(comments) if comments else None
    chain.rules.append(SavedRule(len(chain.rules) + 1, text, packets, octets, comment, target, goes))


def parse_save(body: bytes) -> SavedRuleset:
    """Return all chains and rules of the text; none if it is no output of iptables-save. Never raises."""
    report, body = parse_report(body)
    saved, table = SavedRuleset(handles=report.handles, failures=report.failures), ""
    for line in _records(decoded(body)):
        if line.startswith("*"):
            table = line[1:]
        elif found := _CHAIN.match(line):
            policy = None if found[2] == "-" else found[2]
            chain = SavedChain(table, found[1], policy, _count(found[3]), _count(found[4]))
            saved.chains[table, chain.name] = chain
        elif found := _RULE.match(line):
            _add_rule(saved, table, found)
    return saved
