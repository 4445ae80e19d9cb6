"""The sort keys of flows: columns to sort by in ascending order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from nettop.batch import Array
from nettop.columns import HAVE_ID, HAVE_MARK, HAVE_OCOUNT, HAVE_RCOUNT, HAVE_STATUS, HAVE_TIMEOUT
from nettop.errors import UsageError
from nettop.model.flows import derive
from nettop.model.flows.rate_history import peak_levels
from nettop.model.ordering import Rows, ascending
from nettop.model.table import SortKey

Words = Callable[[str], tuple[Array, Sequence[str]] | None]

# The JSON names, which `--sort` and SortKey accept as well as the keys of columns.
_ALIASES = {
    "src": "original", "dst": "odst", "sport": "osport", "dport": "odport", "reply_dst": "reply",
    "reply_src": "rsrc", "reply_packets": "rpackets", "reply_bytes": "down", "start_ns": "start",
}  # fmt: skip
_RATES = {"rate_up": 0, "rate_down": 1}
_NUMBERS = {"mark": HAVE_MARK, "id": HAVE_ID, "timeout": HAVE_TIMEOUT, "status": HAVE_STATUS}
_COUNTERS = {
    "up": ("obytes", HAVE_OCOUNT),
    "down": ("rbytes", HAVE_RCOUNT),
    "opackets": ("opackets", HAVE_OCOUNT),
    "rpackets": ("rpackets", HAVE_RCOUNT),
}
_PLAIN = ("zone", "osport", "odport", "rsport", "rdport", "family", "netns")
_ADDRESSES = {
    "original": ("osrc", "osport"),
    "odst": ("odst", "odport"),
    "reply": ("rdst", "rdport"),
    "rsrc": ("rsrc", "rsport"),
}
_WORDED = ("proto", "state", "nat", "helper", "labels", "process")
SORT_KEYS = (*_ALIASES, *_NUMBERS, *_COUNTERS, *_PLAIN, *_ADDRESSES, *_WORDED, *_RATES, "rate", "age", "bytes",
             "packets", "offload", "course")  # fmt: skip


def sort_keys(data: derive.Data, sort: Sequence[SortKey], words: Words, now_ns: int) -> list[Array]:
    """Return columns to sort by in ascending order, most significant first; UsageError for an unknown key.

    `words` returns a column of words, as FlowFields.words does.
    """
    keys = []
    for key in sort:
        columns = _key_columns(data, _ALIASES.get(key.key, key.key), words, now_ns)
        keys += [ascending(column, key.descending) for column in columns]
    return keys


class Picked(dict[str, Array]):
    """Some rows of a table: each column is gathered when it is first used."""

    def __init__(self, data: derive.Data, rows: Rows) -> None:
        super().__init__()
        self._all, self._rows = data, rows

    def __missing__(self, name: str) -> Array:
        self[name] = self._all[name][self._rows]
        return self[name]

    def __contains__(self, name: object) -> bool:
        return name in self._all

    def get(self, name: str, default: Any = None) -> Any:
        """Return the column, or the default where the table has none."""
        return self[name] if name in self._all else default


def _key_columns(data: derive.Data, key: str, words: Words, now_ns: int) -> list[Array]:
    if key in _ADDRESSES:
        return _address_keys(data, *_ADDRESSES[key])
    if key in _WORDED:
        return [_word_ranks(data, words(key))]
    if key in _PLAIN:
        return [data[key]]
    if key in _NUMBERS:
        return [_where(derive.has(data, _NUMBERS[key]), data[key])]
    if key in _COUNTERS:
        name, bit = _COUNTERS[key]
        return [_where(derive.has(data, bit), data[name])]
    if key in ("bytes", "packets"):
        return [_where(derive.counted(data), derive.total(data, key))]
    if key == "rate":
        return [derive.rate(data)]
    if key in _RATES:
        return [derive.rates(data)[_RATES[key]]]
    if key == "offload":
        return [derive.offload_codes(data)]
    if key == "course":
        return [peak_levels(data["rate_history"]) if "rate_history" in data else np.zeros(len(data["have"]), np.uint8)]
    if key in ("age", "start"):
        since = (now_ns - derive.birth_ns(data)).astype(np.float64)
        return [since if key == "age" else -since]
    raise UsageError(f"flows have no sort key {key!r}", "one of " + " ".join(sorted(SORT_KEYS)))


def key_columns(data: derive.Data, rows: Rows | slice) -> Iterator[Array]:
    """Yield the columns of these rows that identify a flow: addresses, then ports and the rest."""
    for end in ("osrc", "odst"):
        if f"{end}_hi" in data:
            yield data[f"{end}_hi"][rows]
        yield data[f"{end}_lo"][rows]
    wide = data["family"][rows].astype(np.uint64)
    for name, bits in (("proto", 8), ("zone", 16), ("osport", 16)):  # in place: of a million rows it is 8 MB
        wide <<= np.uint64(bits)
        wide |= data[name][rows]
    yield wide
    yield data["odport"][rows]
    yield data["netns"][rows]


def _where(known: Array, values: Array) -> Array:
    """Return floats, NaN where not known: exact to 2^53, which is enough for an order."""
    found = values.astype(np.float64)
    found[~known] = np.nan
    return found


def _address_keys(data: derive.Data, end: str, port: str) -> list[Array]:
    high = data.get(f"{end}_hi")
    keys = [data["family"], *([] if high is None else [high]), data[f"{end}_lo"]]
    return [*keys, data[port]]


def _word_ranks(data: derive.Data, found: tuple[Array, Sequence[str]] | None) -> Array:
    """Return the alphabetical rank of each row's word."""
    if found is None:
        return np.zeros(len(data["have"]), np.uint16)
    codes, names = found
    rank = np.empty(len(names), np.uint16)
    rank[np.argsort(np.array([name.lower() for name in names]), kind="stable")] = np.arange(len(names))
    return np.asarray(rank[codes])
