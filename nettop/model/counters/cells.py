"""The cells of a counter in the table, the lines of its detail, and the order of the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nettop.model.counters import readings
from nettop.model.counters.drops import ALL, DROP, LOST
from nettop.model.counters.forecast import forecast
from nettop.model.counters.meanings import ADVICE, FULL, FULL_ADVICE, MEANING, NEARLY_FULL, NET_MEANING, SOFTNET_MEANING
from nettop.model.counters.series import CounterHistory, Series
from nettop.model.table import Column, Line
from nettop.text import units

_TREND = 14  # rates in a row's sparkline

COLUMNS: tuple[Column, ...] = (
    Column("group", "GROUP", 11, frozen=True),
    Column("name", "NAME", 30, frozen=True, grow=3, max_width=44, whole=True, middle=True),
    Column("value", "VALUE", 14, right=True),
    Column("rate", "RATE", 9, right=True),
    Column("use", "USED", 6, right=True, rank=2),
    Column("bytes", "BYTES", 7, right=True, rank=5),
    Column("byte_rate", "BYTES/S", 8, right=True, rank=4),
    Column("trend", "TREND", 14, rank=3, sortable=False),
    Column("meaning", "MEANING", 34, rank=1, grow=1),
    Column("netns", "NETNS", 10, rank=1),
)

# Few counters count bytes: their meaning says how many, so that its column has more room.
DEFAULT_COLUMNS = tuple(column.key for column in COLUMNS if column.key not in ("bytes", "byte_rate", "netns"))

# The order on screen; unlisted groups follow by name. Error counters that are 0 come last.
_ORDER = (
    readings.TABLE, readings.CONNTRACK, readings.EXPECT, readings.NFT_COUNTER, readings.NFT_QUOTA,
    readings.NFT_LIMIT, readings.NFT_SET, readings.NFT_ELEMENT, readings.NFACCT, readings.NFQUEUE, readings.NFLOG,
    "", DROP, readings.SOFTNET, *NET_MEANING, readings.LEDGER,
)  # fmt: skip
GROUPS = tuple(group for group in _ORDER if group)
_GROUP_ORDER = {group: number for number, group in enumerate(_ORDER)}
_NAME_ORDER = {
    group: {name: number for number, name in enumerate(names)}
    for group, names in {**MEANING, DROP: (ALL, LOST), readings.SOFTNET: SOFTNET_MEANING, **NET_MEANING}.items()
}
_SINK = frozenset(NET_MEANING)  # groups whose counters come last while they are 0
# Groups of which counters that are 0 are not shown by default: the kernel keeps them, nobody made them.
_UNMADE = frozenset((readings.CONNTRACK, readings.EXPECT, readings.SOFTNET, readings.LEDGER, *NET_MEANING))


_LAST = 2  # the place of nettop's own counters, after those of the kernel that are 0


def is_quiet(series: Series) -> bool:
    """Return whether a counter is shown only on demand: it is 0, and nobody made it.

    Those of conntrack that mean trouble are always shown: that none was dropped is an answer.
    """
    if series.value or series.rate or (series.about.alarming and series.key.group == readings.CONNTRACK):
        return False
    return series.key.group in _UNMADE


def order_key(series: Series) -> tuple[str, int, int, str, int, str, int]:
    """Return the sort key of a counter in the table's own order."""
    key = series.key
    place = _LAST if key.group == readings.LEDGER else int(key.group in _SINK and not series.value)
    group, names = _GROUP_ORDER.get(key.group, _GROUP_ORDER[""]), _NAME_ORDER.get(key.group, {})
    name = names.get(key.name, len(names))
    return key.netns, place, group, key.group, name, key.name, -1 if key.cpu is None else key.cpu


def cell(series: Series, column: str) -> tuple[str, str]:
    """Return the text and role of one column's cell, safe for a terminal."""
    about = series.about
    if column == "value":
        return units.grouped(series.value), _value_role(series)
    if column == "rate":
        return units.rate(series.rate), _rate_role(series, series.rate)
    if column == "use":
        used = series.used
        if used is None:
            return "", ""
        return units.percent(used), "bad" if used >= 1 else "warn" if used >= NEARLY_FULL else "number"
    if column in ("bytes", "byte_rate"):
        return _octets(series, column)
    if column == "trend":
        return units.sparkline(list(series.rates)[-_TREND:]), "warn" if about.alarming else "good"
    if column == "meaning":
        return _short(series), "bad" if series.key.group == readings.LEDGER and about.alarming else "dim"
    if column == "name":
        element = series.key.group == readings.NFT_ELEMENT  # the row of its set shows family and table
        return series.key.name.split(" ", 2)[-1] if element else series.key.name, "heading"
    return (series.key.netns, "accent") if column == "netns" else (getattr(series.key, column), "heading")


def _octets(series: Series, column: str) -> tuple[str, str]:
    octets = series.octets
    if octets is None:
        return "", ""
    if column == "bytes":
        return units.scaled(octets.value), "number"
    return units.rate(octets.rate), _rate_role(series, octets.rate)


def _value_role(series: Series) -> str:
    full = series.used is not None and series.used >= 1
    lost = series.key.group == readings.LEDGER and series.key.name.endswith(" lost")
    return "bad" if series.value and (full or lost) else "number"


def _rate_role(series: Series, rate: float | None) -> str:
    if not rate:
        return "dim"
    return "bad" if series.about.alarming else "number"


def meaning(series: Series, with_use: bool = True) -> str:
    """Return the meaning of a counter, its use, and advice where action is needed."""
    full = series.used is not None and series.used >= 1
    parts = [series.about.meaning + (_fullness(series) if with_use or full else "")]
    if series.reset_ns and series.rate is None:
        parts.append(f"reset at {units.clock(series.reset_ns)}: its rate is known from the next reading on")
    hint = advice(series)
    if hint:
        parts.append(hint)
    return "; ".join(parts)


def _short(series: Series) -> str:
    """Return the meaning for a row with a USED column: the time until full comes first."""
    filling = series.used is not None and series.used < 1
    until_full = forecast(series.trend, series.about.limit) if filling else units.ABSENT
    parts = [] if until_full == units.ABSENT else [f"full in {until_full}"]
    if series.octets is not None and series.octets.value is not None:
        speed = f", {units.rate(series.octets.rate)}" if series.octets.rate else ""
        parts.append(f"{units.scaled(series.octets.value)} bytes{speed}")
    return "; ".join([*parts, meaning(series, with_use=False)])


def _fullness(series: Series) -> str:
    """Return `, 81.0% of the limit, full in ~12 min at +310/s`; "" without a limit."""
    used = series.used
    if used is None:
        return ""
    text = f", {units.percent(used)} of the limit"
    if used >= 1:
        return text + (FULL if series.key.group == readings.TABLE else ": full")
    return f"{text}, full in {forecast(series.trend, series.about.limit)}"


def advice(series: Series) -> str:
    """Return the advice on a counter that grows or is nearly full; "" without any."""
    key, used = series.key, series.used
    if key.group == readings.TABLE and key.name == "entries" and used is not None and used >= NEARLY_FULL:
        return FULL_ADVICE
    return ADVICE.get((key.group, key.name), "") if series.rate and series.rate > 0 else ""


def detail_lines(series: Series, parts: Mapping[int, Series]) -> list[Line]:
    """Return the meaning, the advice, the counter's history, and its parts by CPU."""
    about = series.about
    lines: list[Line] = [((about.more or meaning(series), ""),)]
    hint = ADVICE.get((series.key.group, series.key.name), "")
    if hint and not advice(series):
        lines.append((("if it grows: ", "key"), (hint, "dim")))
    if about.limit is not None:
        lines.append((("limit   ", "key"), (f"{units.grouped(about.limit)} {about.unit}", "number")))
    lines.append(_value_line("all" if parts else about.unit or "value", series))
    if series.octets is not None:
        lines.append(_value_line("bytes", series.octets))
    lines += [_value_line(f"cpu {cpu}", parts[cpu]) for cpu in sorted(parts)]
    if series.reset_ns:
        lines.append((("reset   ", "key"), (f"at {units.clock(series.reset_ns)}", "")))
    return lines


def _value_line(name: str, history: CounterHistory) -> Line:
    return (
        (f"  {name:<8}", "key"),
        (f"{units.grouped(history.value):>14}  {units.rate(history.rate):>9}  ", "number"),
        (units.sparkline(list(history.rates)), "good"),
    )


def sort_value(series: Series, column: str) -> Any:
    """Return the text or the number that a column is sorted by; None where there is none."""
    if column in ("group", "name", "netns"):
        return str(getattr(series.key, column))
    if column == "meaning":
        return series.about.meaning
    if column in ("bytes", "byte_rate"):
        return None if series.octets is None else series.octets.value if column == "bytes" else series.octets.rate
    return series.used if column == "use" else series.value if column == "value" else series.rate
