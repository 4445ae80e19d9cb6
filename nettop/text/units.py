"""The text of numbers: bytes, rates, counts, durations and times, short enough for table columns; and their reading."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from nettop.kinds import NO_TIME

_SI = ((10**18, "E"), (10**15, "P"), (10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))

_SIZE = re.compile(r"(\d+(?:\.\d+)?)([kmgtpe]?)(i?)(?:b|b?/s)?", re.ASCII | re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw]?)", re.ASCII | re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "e": 6}
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}

ABSENT = "–"  # the text of an unknown value
AT_LEAST = "≥"  # before a sum of which parts are not known


def parse_size(text: str) -> int | float:
    """Read `1500`, `10k`, `1.5M`, `2Gi`: k is 1000, Ki is 1024."""
    match = _SIZE.fullmatch(text)
    if match is None or len(text) > 24:
        raise ValueError(f"“{text}” is not a number (k, M, G and Ki, Mi, Gi may follow)")
    value = float(match[1]) if "." in match[1] else int(match[1])
    value *= (1024 if match[3] else 1000) ** _POWERS[match[2].lower()]
    return int(value) if value == int(value) else value


def parse_duration(text: str) -> int | float:
    """Read `10s`, `5m`, `2h`, `1h30m`, `250ms`, `7d`; a bare number is seconds."""
    total, position = 0.0, 0
    while position < len(text) <= 24:
        match = _DURATION.match(text, position)
        if match is None:
            break
        total += float(match[1]) * _SECONDS[match[2].lower()]
        position = match.end()
    if not text or position != len(text):
        raise ValueError(f"“{text}” is not a duration (10s, 5m, 2h, 1d)")
    return int(total) if total == int(total) else total


def scaled(value: float | None) -> str:
    """Return `1.2M`, `84.1M`, `310k` or `999`: at most five characters, SI steps of 1000; `–` for None."""
    if value is None:
        return ABSENT
    for factor, suffix in _SI:
        if abs(value) >= factor * 0.9995:
            n = value / factor
            return f"{n:.0f}{suffix}" if n >= 99.95 else f"{n:.1f}{suffix}"
    return f"{value:.0f}" if value == int(value) or abs(value) >= 9.95 else f"{value:.1f}"


def rate(value: float | None) -> str:
    """Return `1.2M/s`; `–` for None."""
    return ABSENT if value is None else f"{scaled(value)}/s"


def grouped(value: int | None) -> str:
    """Return `262,144`; `–` for None."""
    return ABSENT if value is None else f"{value:,}"


def percent(share: float) -> str:
    """Return `12.3%` of the share 0.123; `<0.1%` of one below 0.0005 that is not 0."""
    shown = 100 * share
    if 0 < shown < 0.05:
        return "<0.1%"
    return f"{shown:.0f}%" if shown >= 99.95 or not shown else f"{shown:.1f}%"


def duration(seconds: float | None) -> str:
    """Return `41s`, `1m04`, `4h12`, `4d23h` or `312d`: at most six characters; `–` for None."""
    if seconds is None:
        return ABSENT
    s = max(0, int(seconds))
    if s < 60:
        return f"{s}s"
    if s < 3600:
        return f"{s // 60}m{s % 60:02d}"
    if s < 86400:
        return f"{s // 3600}h{s % 3600 // 60:02d}"
    if s < 100 * 86400:
        return f"{s // 86400}d{s % 86400 // 3600:02d}h"
    return f"{s // 86400}d"


def remaining(seconds: float | None) -> str:
    """Return a time left as `duration` does, rounded to what it shows: 431,999 s is `5d00h`, as 432,000 s is."""
    if seconds is None:
        return ABSENT
    step = 1 if seconds < 3600 else 60 if seconds < 86400 else 3600 if seconds < 100 * 86400 else 86400
    return duration((int(seconds) + step // 2) // step * step)


def clock(ts_ns: int, digits: int = 0) -> str:
    """Return the local time of day, `12:04:31` or with `digits` decimals (truncated, as tcpdump does)."""
    if ts_ns == NO_TIME:
        return ABSENT
    seconds, ns = divmod(ts_ns, 1_000_000_000)
    try:
        text = time.strftime("%H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):  # a file may contain any time
        return "??:??:??"
    return text if digits == 0 else f"{text}.{ns:09d}"[: 9 + digits]


_BARS = " ▁▂▃▄▅▆▇█"


def bar(part: float, cells: int) -> str:
    """Return a bar of `part` (0 to 1) of the cells, in eighths of a cell: `███▌` is 0.35 of 10."""
    eighths = max(0, min(8 * cells, round(8 * cells * part)))
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def sparkline(values: list[float], top: float | None = None) -> str:
    """Return one glyph for each value, scaled to `top` (default: the largest value)."""
    highest = max(values, default=0.0) if top is None else top
    if highest <= 0:
        return " " * len(values)
    return "".join(_BARS[0 if v <= 0 else max(1, min(8, round(v / highest * 8)))] for v in values)


def listed(names: Sequence[str], most: int = 10) -> str:
    """Return `a, b, c`, and `, …` if there are more than `most`."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def plural(count: int | None, noun: str, several: str = "") -> str:
    """Return `1 rule`, `1,204 rules`, `an unknown number of rules`; or `several` where that is not the noun with an s.

    None is an unknown number.
    """
    if count is None:
        return f"an unknown number of {several or noun + 's'}"
    return f"{grouped(count)} {noun if count == 1 else several or noun + 's'}"
