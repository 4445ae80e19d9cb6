"""The output of `nft -a -t list ruleset`: the text of each rule by its handle.

The output is not always UTF-8, and comments in it are not escaped. It is therefore parsed line by line, by indentation
and the handle at the end of a line, never by quotes and braces.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_TABLE = re.compile(rb"^table (\S+) (.*) \{(?: # .*)?$")
_CHAIN = re.compile(rb"^\tchain (.*) \{(?: # handle \d+)?$")
_RULE_END = re.compile(rb"^(.*) # handle (\d{1,20})$")
_HEADER = re.compile(rb'^(?:type \S+ hook .*;|policy \w+;|flags .*;|comment ".*")$', re.DOTALL)

_QUOTED = re.compile(r'("[^"]*")')
_COUNTER = re.compile(r"counter packets \d+ bytes \d+")
_USED = re.compile(r" used \d+ \w+")
_JUMP = re.compile(r"\b(?:jump|goto) ([^\s,}]+)")

ChainKey = tuple[str, str, str]  # family, table, chain


@dataclass(slots=True)
class Listing:
    """Rule texts by (family, table, chain) and handle, as nft prints them, but on one line and without the handle."""

    rules: dict[ChainKey, dict[int, str]] = field(default_factory=dict)

    def text(self, family: str, table: str, chain: str, handle: int) -> str | None:
        """Return the text of the rule, or None if it is not in the listing."""
        return self.rules.get((family, table, chain), {}).get(handle)


def text_of(data: bytes) -> str:
    """Return the text of a tool's output, which may hold any bytes: `\\xNN` for those that are not UTF-8."""
    return data.decode("utf-8", "backslashreplace")


class _ListingParser:
    """The state of the parser: outside, in a table, or in a chain, where `half` has the lines of an unfinished rule."""

    def __init__(self) -> None:
        self.listing = Listing()
        self.table: tuple[str, str] | None = None
        self.chain: dict[int, str] | None = None
        self.half: list[bytes] = []

    def line(self, line: bytes) -> None:
        """Parse one line."""
        if self.chain is not None and line != b"\t}":
            self._in_chain(line)
        elif line == b"\t}":
            self.chain, self.half = None, []
        elif line == b"}":
            self.table = None
        elif line.startswith(b"table ") and (found := _TABLE.match(line)):
            self.table = (text_of(found[1]), text_of(found[2]))
        elif self.table is not None and (found := _CHAIN.match(line)):
            self.chain = self.listing.rules.setdefault((*self.table, text_of(found[1])), {})

    def _in_chain(self, line: bytes) -> None:
        part = line.strip(b"\t ") if line.startswith(b"\t\t") else line
        end = _RULE_END.match(part)
        if end is not None and self.chain is not None:
            text = b" ".join([*self.half, end[1]])
            self.chain.setdefault(int(end[2]), text_of(text).strip())
            self.half = []
        elif self.half or not _HEADER.match(part):
            self.half.append(part)


def parse_listing(body: bytes) -> Listing:
    """Return all rules of the listing; none if the text is no listing. Never raises."""
    reader = _ListingParser()
    for line in body.split(b"\n"):
        reader.line(line)
    return reader.listing


def _replace_unquoted(text: str, pattern: re.Pattern[str], replacement: str) -> str:
    parts = _QUOTED.split(text)
    return "".join(part if i % 2 else pattern.sub(replacement, part) for i, part in enumerate(parts))


def stateless(text: str) -> str:
    """Return the rule as `nft -s` prints it: counters and used quotas without their values."""
    if "packets" not in text and " used " not in text:
        return text
    return _replace_unquoted(_replace_unquoted(text, _COUNTER, "counter"), _USED, "")


def with_counters(text: str, packets: int, octets: int) -> str:
    """Return the rule as nft would print it with these values in its last counter."""
    spans = [match.span() for match in _COUNTER.finditer(_masked(text))]
    if not spans:
        return text
    first, last = spans[-1]
    return f"{text[:first]}counter packets {packets} bytes {octets}{text[last:]}"


def _masked(text: str) -> str:
    """Return the text with quoted parts blanked, at the same length."""
    return _QUOTED.sub(lambda quoted: " " * len(quoted[0]), text)


def jumps(text: str) -> tuple[str, ...]:
    """Return the chains that a rule's text jumps or goes to, also by an anonymous verdict map: each once, in order."""
    if "jump " not in text and "goto " not in text:
        return ()
    return tuple(dict.fromkeys(_JUMP.findall(_masked(text))))
