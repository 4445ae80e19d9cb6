"""The output of `iptables-save -c` (iptables-nft and iptables-legacy, IPv4 and IPv6): chains, rules and counters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from nettop.decode.nftables.listing import text_of

_CHAIN = re.compile(rb"^:(.+) ([A-Z]+|-) \[(\d{1,20}):(\d{1,20})\]$", re.DOTALL)
_RULE = re.compile(rb"^(?:\[(\d{1,20}):(\d{1,20})\] )?-A (.*)$", re.DOTALL)
_INCOMPATIBLE = re.compile(rb"^# Table `(.+)' is incompatible")
_COMMENT = re.compile(r'(?:^| )--comment ("(?:[^"\\]|\\.)*"|\S+)', re.DOTALL)
_TARGET = re.compile(r"(?:^| )(?:-j|--jump|-g|--goto) (\S+)")
_ESCAPED = re.compile(r'\\(["\\\'])')  # the tool's escapes; our own \\xNN is not changed
_ESCAPED_BYTE = re.compile(rb"\\.", re.DOTALL)
_MAX_COUNT = (1 << 64) - 1
_MAX_NAME = 256  # linux/netfilter/nf_tables.h NFT_NAME_MAXLEN
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


@dataclass(frozen=True, slots=True)
class SavedRule:
    """One `-A` line: the text after the name of the chain, and the counters before it (None without -c)."""

    number: int  # from 1 in its chain
    text: str
    packets: int | None
    bytes: int | None
    comment: str | None
    target: str | None  # after -j or -g: a chain or a target of iptables


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
    """A whole output: chains by (table, chain) in their order, and the names of tables that iptables cannot express."""

    chains: dict[tuple[str, str], SavedChain] = field(default_factory=dict)
    incompatible: set[str] = field(default_factory=set)

    @property
    def tables(self) -> set[str]:
        """The names of all tables with chains."""
        return {table for table, _ in self.chains}


def _count(digits: bytes) -> int:
    """Return the value of a counter, at most 64 bits."""
    return min(int(digits), _MAX_COUNT)


def _odd_quotes(line: bytes) -> bool:
    """Return True if a quoted text begins or ends in the line. The tool escapes quotes and backslashes in it."""
    return line.count(b'"') > 0 and _ESCAPED_BYTE.sub(b"", line).count(b'"') % 2 == 1


def _records(body: bytes) -> Iterator[bytes]:
    """Yield the lines. Those that a newline in a quoted text, such as a comment, divides are joined again."""
    parts: list[bytes] = []
    opened = False
    for line in body.split(b"\n"):
        if not parts and line[:1] != b"[" and line[:2] != b"-A":
            yield line
            continue
        parts.append(line)
        opened ^= _odd_quotes(line)
        if not opened:
            yield b"\n".join(parts)
            parts = []
    if parts:
        yield b"\n".join(parts)


def _comment(text: str) -> str | None:
    found = _COMMENT.search(text) if "--comment" in text else None
    if found is None:
        return None
    value = found[1]
    return _ESCAPED.sub(r"\1", value[1:-1]) if value.startswith('"') else value


def _target(text: str) -> str | None:
    found = _TARGET.search(_QUOTED.sub(lambda m: "_" * len(m[0]), text) if '"' in text else text)
    return None if found is None else found[1]


def _chain_of(saved: SavedRuleset, table: str, rest: str) -> tuple[SavedChain | None, str]:
    """Return the declared chain that `-A` names, and the text after it. A chain's name may contain spaces."""
    name, _, after = rest.partition(" ")
    while True:
        chain = saved.chains.get((table, name))
        if chain is not None or not after or len(name) > _MAX_NAME:
            return chain, after
        more, _, after = after.partition(" ")
        name = f"{name} {more}"


def _add_rule(saved: SavedRuleset, table: str, found: re.Match[bytes]) -> None:
    chain, text = _chain_of(saved, table, text_of(found[3]))
    if chain is None:
        return
    packets, octets = (None, None) if found[1] is None else (_count(found[1]), _count(found[2]))
    chain.rules.append(SavedRule(len(chain.rules) + 1, text, packets, octets, _comment(text), _target(text)))


def parse_save(body: bytes) -> SavedRuleset:
    """Return all chains and rules of the text; none if it is no output of iptables-save. Never raises."""
    saved, table = SavedRuleset(), ""
    for line in _records(body):
        if line.startswith(b"*"):
            table = text_of(line[1:])
        elif found := _CHAIN.match(line):
            policy = None if found[2] == b"-" else text_of(found[2])
            chain = SavedChain(table, text_of(found[1]), policy, _count(found[3]), _count(found[4]))
            saved.chains[table, chain.name] = chain
        elif found := _RULE.match(line):
            _add_rule(saved, table, found)
        elif found := _INCOMPATIBLE.match(line):
            saved.incompatible.add(text_of(found[1]))
    return saved
