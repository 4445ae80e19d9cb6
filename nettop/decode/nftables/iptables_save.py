"""The text of `iptables-save -c` (iptables-nft and iptables-legacy, IPv4 and IPv6): chains and rules with counters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_CHAIN = re.compile(rb"^:(.+) ([A-Z]+|-) \[(\d{1,20}):(\d{1,20})\]$", re.DOTALL)
_RULE = re.compile(rb"^(?:\[(\d{1,20}):(\d{1,20})\] )?-A (.*)$", re.DOTALL)
_INCOMPATIBLE = re.compile(rb"^# Table `(.+)' is incompatible")
_COMMENT = re.compile(r'(?:^| )--comment ("(?:[^"\\]|\\.)*"|\S+)', re.DOTALL)
_TARGET = re.compile(r"(?:^| )(?:-j|--jump|-g|--goto) (\S+)")
_ESCAPED = re.compile(r'\\(["\\\'])')  # what the tool escapes; a \\xNN of ours stays
_ESCAPED_BYTE = re.compile(rb"\\.", re.DOTALL)
_HIGHEST = (1 << 64) - 1  # of a counter
_LONGEST_NAME = 256  # linux/netfilter/nf_tables.h NFT_NAME_MAXLEN
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


@dataclass(frozen=True, slots=True)
class SavedRule:
    """One `-A` line: the text after the chain's name, and the counters before it (None without -c)."""

    number: int  # from 1 in its chain
    text: str
    packets: int | None
    bytes: int | None
    comment: str | None
    target: str | None  # after -j or -g: a chain, or what iptables calls a target


@dataclass(slots=True)
class SavedChain:
    """One `:` line and its rules. `policy` is None for a user chain."""

    table: str
    name: str
    policy: str | None  # ACCEPT DROP, as printed
    packets: int  # that the policy decided
    bytes: int
    rules: list[SavedRule] = field(default_factory=list)


@dataclass(slots=True)
class Saved:
    """A whole iptables-save: chains by (table, chain), in the order printed, and the tables it cannot express."""

    chains: dict[tuple[str, str], SavedChain] = field(default_factory=dict)
    incompatible: set[str] = field(default_factory=set)

    @property
    def tables(self) -> set[str]:
        """The names of the tables printed."""
        return {table for table, _ in self.chains}


def _word(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _count(digits: bytes) -> int:
    """The value of a counter; of a text that names a higher one than there can be, the highest."""
    return min(int(digits), _HIGHEST)


def _odd_quotes(line: bytes) -> bool:
    """Return True if a quoted text begins or ends in the line; the tool escapes quotes and backslashes."""
    return line.count(b'"') > 0 and _ESCAPED_BYTE.sub(b"", line).count(b'"') % 2 == 1


def _records(body: bytes) -> Iterator[bytes]:
    """Lines, those whose quotes hold a newline put together again (a comment may contain one)."""
    held: list[bytes] = []
    opened = False
    for line in body.split(b"\n"):
        if not held and line[:1] != b"[" and line[:2] != b"-A":
            yield line
            continue
        held.append(line)
        opened ^= _odd_quotes(line)
        if not opened:
            yield b"\n".join(held)
            held = []
    if held:
        yield b"\n".join(held)


def _comment(text: str) -> str | None:
    found = _COMMENT.search(text) if "--comment" in text else None
    if found is None:
        return None
    value = found[1]
    return _ESCAPED.sub(r"\1", value[1:-1]) if value.startswith('"') else value


def _target(text: str) -> str | None:
    found = _TARGET.search(_QUOTED.sub(lambda m: "_" * len(m[0]), text) if '"' in text else text)
    return None if found is None else found[1]


def _chain_of(saved: Saved, table: str, rest: str) -> tuple[SavedChain | None, str]:
    """The declared chain that `-A` names, and what follows; a chain's name may hold spaces."""
    name, _, after = rest.partition(" ")
    while True:
        chain = saved.chains.get((table, name))
        if chain is not None or not after or len(name) > _LONGEST_NAME:
            return chain, after
        more, _, after = after.partition(" ")
        name = f"{name} {more}"


def _add_rule(saved: Saved, table: str, found: re.Match[bytes]) -> None:
    chain, text = _chain_of(saved, table, _word(found[3]))
    if chain is None:
        return
    packets, octets = (None, None) if found[1] is None else (_count(found[1]), _count(found[2]))
    chain.rules.append(SavedRule(len(chain.rules) + 1, text, packets, octets, _comment(text), _target(text)))


def parse_save(body: bytes) -> Saved:
    """Every chain and rule of the text. What is no iptables-save gives an empty one; nothing is raised."""
    saved, table = Saved(), ""
    for line in _records(body):
        if line.startswith(b"*"):
            table = _word(line[1:])
        elif found := _CHAIN.match(line):
            policy = None if found[2] == b"-" else _word(found[2])
            chain = SavedChain(table, _word(found[1]), policy, _count(found[3]), _count(found[4]))
            saved.chains[table, chain.name] = chain
        elif found := _RULE.match(line):
            _add_rule(saved, table, found)
        elif found := _INCOMPATIBLE.match(line):
            saved.incompatible.add(_word(found[1]))
    return saved
