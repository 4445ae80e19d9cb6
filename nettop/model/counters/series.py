"""One counter's course: its value, what it changed by, its rate, and what is known about it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from nettop.broker.requests import CounterName
from nettop.model.counters.forecast import Trend

_SECOND = 1_000_000_000
HISTORY = 60  # readings that the detail's sparkline shows
WRAP32, WRAP64 = 1 << 32, 1 << 64  # where counters begin again from 0


class Key(NamedTuple):
    """What is counted. `cpu` None: the sum over all CPUs, or something no CPU counts."""

    netns: str
    group: str
    name: str
    cpu: int | None = None


_NONE = Key("", "", "")


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a counter beside its value."""

    meaning: str = ""  # in words; not yet safe for a terminal
    unit: str = ""  # packets, bytes, entries, …
    limit: int | None = None  # of the value, in its unit
    ceiling: bool = True  # the limit can be reached: how full it is, and when it will be, is worth saying
    alarming: bool = False  # that it moves is bad news
    more: str = ""  # what the detail says instead of the meaning, where that is longer
    resets: CounterName | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """A value read at a time. `wrap`: where it begins again from 0; None: a gauge, which may go down."""

    group: str
    name: str
    value: int | None
    wrap: int | None = None
    cpu: int | None = None
    octets: int | None = None  # bytes counted beside the packets of `value`
    about: About | None = None  # None: what was known stays


@dataclass(slots=True)
class Course:
    """Values of one number: the last, its change, its rate, the rates before."""

    value: int | None = None
    ts_ns: int = 0
    delta: int | None = None  # since the reading before
    grown: int = 0  # all changes that are known, added up
    rate: float | None = None  # a second; of a gauge: its change
    reset_ns: int = 0  # when it was last seen to begin anew; 0: never
    rates: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))

    def take(self, value: int | None, ts_ns: int, wrap: int | None) -> None:
        """A new reading. A counter that falls has wrapped, or was reset: then its rate is not known this once."""
        before, elapsed = self.value, ts_ns - self.ts_ns
        if before is not None and value is not None and elapsed <= 0:
            self.value = value
            return
        self.value, self.ts_ns = value, ts_ns
        change = None if before is None or value is None else _change(before, value, wrap)
        self.delta, self.rate = change, None
        if change is not None:
            self.grown += change
            self.rate = change * _SECOND / elapsed
            self.rates.append(self.rate)
        elif before is not None and value is not None:
            self.reset_ns = ts_ns


def _change(before: int, value: int, wrap: int | None) -> int | None:
    """By how much it grew; None: it began anew."""
    change = value - before
    if change >= 0 or wrap is None:
        return change
    change += wrap
    return change if change < wrap >> 1 else None


@dataclass(slots=True)
class Series(Course):
    """One row: a course, with the bytes that were counted beside it."""

    key: Key = _NONE
    ident: int = 0
    about: About = About()
    octets: Course | None = None
    trend: Trend | None = None  # of what has a limit

    def read(self, reading: Reading, ts_ns: int) -> None:
        """A new reading of this counter."""
        self.take(reading.value, ts_ns, reading.wrap)
        self.about = reading.about or self.about
        if reading.octets is not None:
            self.octets = self.octets or Course()
            self.octets.take(reading.octets, ts_ns, reading.wrap)
        if self.about.limit is not None and self.about.ceiling and self.value is not None:
            self.trend = self.trend or Trend()
            self.trend.take(ts_ns, self.value)

    def sum_of(self, parts: Sequence[Series]) -> None:
        """The sum of what every CPU counted; its rate is known when all theirs are."""
        self.about = parts[0].about
        self.value = sum(part.value or 0 for part in parts)
        self.ts_ns = max(part.ts_ns for part in parts)
        self.reset_ns = max(part.reset_ns for part in parts)
        self.grown = sum(part.grown for part in parts)
        deltas = [part.delta for part in parts if part.delta is not None]
        rates = [part.rate for part in parts if part.rate is not None]
        self.delta = sum(deltas) if len(deltas) == len(parts) else None
        self.rate = sum(rates) if len(rates) == len(parts) else None
        depth = min(len(part.rates) for part in parts)
        self.rates = deque((sum(part.rates[i - depth] for part in parts) for i in range(depth)), HISTORY)

    @property
    def used(self) -> float | None:
        """The part of its limit that is used, 1.0 is all; None where there is none."""
        limit = self.about.limit if self.about.ceiling else None
        return None if not limit or self.value is None else self.value / limit
