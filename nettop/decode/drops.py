"""The packets that the kernel drops: the texts TextKind.DROPS (counts) and DROP_RECORDS (each).

Malformed lines are skipped. Format: broker/tracing/drops.py. Names are those of the kernel that ran.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

from nettop.batch import Text

_MAX_LINES = 20_000  # of one text: reasons × functions that drop × protocols are some hundred
_MAX_ERROR = 300  # bytes
_ABSENT = "-"


Place = tuple[str | None, int | None]


@dataclass(frozen=True, slots=True)
class DropCount:
    """Packets that were dropped for one reason in one function of the kernel. `protocol` is an ETH_P_* number."""

    reason: str
    function: str  # "": not known
    protocol: int
    count: int


@dataclass(frozen=True, slots=True)
class DropRecord:
    """One dropped packet. `length` (bytes from the network header on) and `device`: of the receipt; None: not seen."""

    ts_ns: int
    reason: str
    function: str
    protocol: int
    length: int | None = None
    device: str | None = None

    @property
    def place(self) -> Place:
        """The device and the length."""
        return self.device, self.length


@dataclass(slots=True)
class DropCounts:
    """The drops of the whole host since `since_ns`; `error` says why there are none."""

    ts_ns: int
    error: str = ""
    since_ns: int = 0
    lost: int = 0  # drops that were not seen: the kernel's ring was full
    counts: list[DropCount] = field(default_factory=list)


@dataclass(slots=True)
class DropRecords:
    """The drops up to `ts_ns`."""

    ts_ns: int
    error: str = ""
    lost: int = 0
    records: list[DropRecord] = field(default_factory=list)


def decode_drop_counts(text: Text) -> DropCounts:
    """Decode the counts. Never raises."""
    found = DropCounts(text.ts_ns, _error(text))
    for words in () if found.error else _lines(text):
        with suppress(ValueError, KeyError):
            if len(words) == 2:
                setattr(found, {"since": "since_ns", "lost": "lost"}[words[0]], _count(words[1]))
            else:
                reason, function, protocol, count = words
                counted = DropCount(reason, function.strip(_ABSENT), int(protocol, 16), _count(count))
                found.counts.append(counted)
    return found


def decode_drop_records(text: Text) -> DropRecords:
    """Decode the drops. Never raises."""
    found = DropRecords(text.ts_ns, _error(text))
    for words in () if found.error else _lines(text):
        with suppress(ValueError, IndexError):
            if words[0] == "lost":
                found.lost = _count(words[1])
                continue
            ts_ns, reason, function, protocol, length, device = words
            received = (None, None) if length == _ABSENT else (_count(length), device)
            place = function.strip(_ABSENT), int(protocol, 16)
            found.records.append(DropRecord(_count(ts_ns), reason, *place, *received))
    return found


def _error(text: Text) -> str:
    """Return the reason why there are no drops."""
    first, _, reason = text.body[:_MAX_ERROR].decode("utf-8", "backslashreplace").partition(" ")
    return text.error or (reason.strip() if first == "missing" else "")


def _lines(text: Text) -> Iterator[list[str]]:
    lines = text.body.decode("utf-8", "backslashreplace").split("\n")
    return (line.split() for line in islice(lines, _MAX_LINES) if line.strip())


def _count(word: str) -> int:
    number = int(word)
    if not 0 <= number < 1 << 64:
        raise ValueError(word)
    return number
