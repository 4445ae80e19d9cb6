"""One counter: its value, its change, its rate, their history, and its description."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from nettop.broker.requests import CounterName
from nettop.model.counters.forecast import Trend

_SECOND = 1_000_000_000
MAX_RATES = 60  # kept: those of the detail's sparkline
WRAP32, WRAP64 = 1 << 32, 1 << 64  # the values at which counters wrap


class CounterKey(NamedTuple):
    """The identity of a counter. `cpu` None: the sum over all CPUs, or a counter without CPUs."""

    netns: str
    group: str
    name: str
    cpu: int | None = None


_NONE = CounterKey("", "", "")


@dataclass(frozen=True, slots=True)
class About:
    """The description of a counter."""

    meaning: str = ""  # in words; not yet safe for a terminal
    unit: str = ""  # packets, bytes, entries, …
    limit: int | None = None  # of the value, in its unit
    ceiling: bool = True  # the limit can be reached: its use and a forecast are shown
    alarming: bool = False  # its growth means trouble
    more: str = ""  # a longer text instead of the meaning, for the detail
    resets: CounterName | None = None
    places: tuple[tuple[str, int], ...] = ()  # parts of the value, by function of the kernel and protocol


@dataclass(frozen=True, slots=True)
class Reading:
    """A value that was read. `wrap`: the value at which it begins again from 0; None: a gauge, which may fall."""

    group: str
    name: str
    value: int | None
    wrap: int | None = None
    cpu: int | None = None
    octets: int | None = None  # bytes counted with the packets of `value`
    about: About | None = None  # None: unchanged


@dataclass(slots=True)
class CounterHistory:
    """The last value of a number, its change, its rate, and earlier rates."""

    value: int | None = None
    ts_ns: int = 0
    began_ns: int = 0  # the time of the first value
    delta: int | None = None  # since the previous reading
    grown: int = 0  # the sum of all known changes
    rate: float | None = None  # per second; of a gauge: of its change
    reset_ns: int = 0  # time at which the last reset was seen; 0: never
    rates: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_RATES))

    def add(self, value: int | None, ts_ns: int, wrap: int | None) -> None:
        """Add a value. A counter that falls has wrapped or was reset; after a reset its rate is not known."""
        before, elapsed = self.value, ts_ns - self.ts_ns
        if before is not None and value is not None and elapsed <= 0:
            self.value = value
            return
        self.value, self.ts_ns, self.began_ns = value, ts_ns, self.began_ns or ts_ns
        change = None if before is None or value is None else _change(before, value, wrap)
        self.delta, self.rate = change, None
        if change is not None:
            self.grown += change
            self.rate = change * _SECOND / elapsed
            self.rates.append(self.rate)
        elif before is not None and value is not None:
            self.reset_ns = ts_ns


def _change(before: int, value: int, wrap: int | None) -> int | None:
    """Return the change; None when the counter was reset."""
    change = value - before
    if change >= 0 or wrap is None:
        return change
    change += wrap
    return change if change < wrap >> 1 else None


@dataclass(slots=True)
class Series(CounterHistory):
    """One row of the table: a counter, and the bytes that were counted with it."""

    key: CounterKey = _NONE
    ident: int = 0
    about: About = About()
    octets: CounterHistory | None = None
    trend: Trend | None = None  # of counters with a limit

    def apply(self, reading: Reading, ts_ns: int) -> None:
        """Apply a reading of this counter."""
        self.add(reading.value, ts_ns, reading.wrap)
        self.about = reading.about or self.about
        if reading.octets is not None:
            self.octets = self.octets or CounterHistory()
            self.octets.add(reading.octets, ts_ns, reading.wrap)
        if self.about.limit is not None and self.about.ceiling and self.value is not None:
            self.trend = self.trend or Trend()
            self.trend.add(ts_ns, self.value)

    def sum_of(self, parts: Sequence[Series]) -> None:
        """Set this counter to the sum over all CPUs; its rate is known when all their rates are."""
        self.about = parts[0].about
        self.value = sum(part.value or 0 for part in parts)
        self.ts_ns = max(part.ts_ns for part in parts)
        self.began_ns = max(part.began_ns for part in parts)
        self.reset_ns = max(part.reset_ns for part in parts)
        self.grown = sum(part.grown for part in parts)
        deltas = [part.delta for part in parts if part.delta is not None]
        rates = [part.rate for part in parts if part.rate is not None]
        self.delta = sum(deltas) if len(deltas) == len(parts) else None
        self.rate = sum(rates) if len(rates) == len(parts) else None
        depth = min(len(part.rates) for part in parts)
        self.rates = deque((sum(part.rates[i - depth] for part in parts) for i in range(depth)), MAX_RATES)

    @property
    def used(self) -> float | None:
        """The fraction of the limit in use, 1.0 is full; None without a limit."""
        limit = self.about.limit if self.about.ceiling else None
        return None if not limit or self.value is None else self.value / limit
