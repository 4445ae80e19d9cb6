"""Flows and events as lines of JSON or text, in bulk: one template per shape of row, filled from columns.

A dict and json.dumps per row took four times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from json import dumps
from typing import Any

import numpy as np

from nettop import columns as ct
from nettop.batch import Array
from nettop.model.flows import derive
from nettop.model.flows.templates import SHAPE_HAVE, FlowShape, json_template
from nettop.text import units
from nettop.text.address import address_text, ipv4_text
from nettop.text.flow import EVENT_NAMES, STATE_LABELS, labels_text
from nettop.text.sanitize import clean, decoded

CHUNK = 8192  # rows at a time: the columns of a chunk stay in the cache
_MAX_TEMPLATES = 10_000
# Those of TEMPLATE_VALUES that are columns; ts_ns only of events.
_VALUES = (
    *("osrc", "osport", "odst", "odport", "rsrc", "rsport", "rdst", "rdport", "timeout", "mark", "id"),
    *("opackets", "obytes", "rpackets", "rbytes", "start_ns"),
)


class FlowLines:
    """A formatter of rows as JSON or text, with a cache of templates."""

    def __init__(
        self,
        strings: ct.Strings,
        netns_label: Callable[[int], str],
        template: Callable[[FlowShape], str] = json_template,
        joined: JoinedValues = lambda data, owners: None,
    ) -> None:
        self._template = template
        self._joined = joined
        self._strings = strings
        self._netns_label = netns_label
        self._templates: dict[tuple[int, int, int], str] = {}

    def lines(self, data: derive.Data, netns: int | None = None, owners: Owners | None = None) -> list[str]:
        """Return one line per row, without newlines. `netns`: the code of all rows if data has no such column.

        Rows whose `event` is set become events, others flows.
        """
        joined = self._joined(data, owners)
        templates = self._row_templates(data, netns, joined is not None)
        values = zip(*_values(data), *(joined or ()), strict=True)
        return [template % row for template, row in zip(templates, values, strict=True)]

    def chunks(self, data: derive.Data, rows: Array, owners: Owners | None = None) -> Iterator[list[str]]:
        """Yield the lines of these rows of a large table, CHUNK at a time."""
        for start in range(0, len(rows), CHUNK):
            part = slice(start, start + CHUNK)
            some = {name: values[rows[part]] for name, values in data.items()}
            yield self.lines(some, owners=None if owners is None else owners.part(part))

    def _row_templates(self, data: derive.Data, netns: int | None, joined: bool) -> Iterator[str]:
        shapes = _shape_columns(data, netns, joined)
        used, code = _distinct(shapes)
        known = self._templates
        if len(known) > _MAX_TEMPLATES:
            known.clear()
        made = []
        for a, b, c in zip(*(shape[used].tolist() for shape in shapes), strict=True):
            template = known.get((a, b, c))
            if template is None:
                template = known[a, b, c] = self._template(self._shape(a, b, c))
            made.append(template)
        return map(made.__getitem__, code.tolist())

    def _shape(self, a: int, b: int, c: int) -> FlowShape:
        have, event = b & 0xFFFFFFFF, a >> 8 & 3
        return FlowShape(
            netns=self._netns_label(a >> 48),
            family=a & 0xFF,
            proto=a >> 16 & 0xFF,
            state=STATE_LABELS[a >> 24 & 0xFF] if a >> 24 & 0xF0 else None,
            status=c & 0xFFFFFFFF if have & ct.HAVE_STATUS else None,
            nat=a >> 12 & 0xF,
            zone=a >> 32 & 0xFFFF,
            helper=decoded(self._strings[b >> 48]) if have & ct.HAVE_HELPER else None,
            labels=labels_text(self._strings[b >> 32 & 0xFFFF]) if have & ct.HAVE_LABELS else None,
            event=EVENT_NAMES[event] if event != ct.EVENT_DUMP else None,
            joined=bool(a >> 10 & 1),
            icmp=c >> 48,
            reply_icmp=c >> 32 & 0xFFFF,
            have=have,
        )


def _shape_columns(data: derive.Data, netns: int | None, joined: bool) -> tuple[Array, Array, Array]:
    """Return the fixed parts of the lines, packed into three uint64 per row (see FlowLines._shape)."""
    wide = np.uint64
    a = data["family"].astype(wide) | wide(joined << 10)
    if "event" in data:
        a |= data["event"].astype(wide) << wide(8)
    a |= derive.nat_bits(data).astype(wide) << wide(12) | data["proto"].astype(wide) << wide(16)
    a |= derive.state_codes(data).astype(wide) << wide(24) | derive.column(data, "zone").astype(wide) << wide(32)
    a |= np.asarray(data["netns"] if netns is None else netns, wide) << wide(48)
    have = data["have"] & np.uint32(SHAPE_HAVE)
    b = have.astype(wide)
    for name, bit, shift in (("labels", ct.HAVE_LABELS, 32), ("helper", ct.HAVE_HELPER, 48)):
        if name in data:
            b |= np.where(have & bit != 0, data[name], 0).astype(wide) << wide(shift)
    c = derive.column(data, "status").astype(wide)
    ping = derive.icmp(data)
    if ping.any():
        c |= np.where(ping, derive.column(data, "odport"), 0).astype(wide) << wide(48)
        c |= np.where(ping, derive.column(data, "rdport"), 0).astype(wide) << wide(32)
    return a, b, c


def _distinct(columns: tuple[Array, ...]) -> tuple[Array, Array]:
    """Return the first row of each distinct combination, and for every row the index of its combination."""
    code = np.zeros(len(columns[0]), np.intp)
    for column in columns:
        if len(column) and (column == column[0]).all():
            continue
        _, other = np.unique(column, return_inverse=True)
        code = code * (int(other.max()) + 1) + other
        _, code = np.unique(code, return_inverse=True)
    _, first = np.unique(code, return_index=True)
    return first, code


def _values(data: derive.Data) -> list[list[Any]]:
    """Return the columns of TEMPLATE_VALUES."""
    texts = _address_texts(data)
    columns = [texts[name] if name in texts else derive.column(data, name).tolist() for name in _VALUES]
    columns.append(data["ts_ns"].tolist() if "ts_ns" in data else [0] * len(data["have"]))
    return columns


def _address_texts(data: derive.Data) -> dict[str, list[str]]:
    """Return the texts of all four addresses. Without NAT those of the reply are the original's, formatted once."""
    texts = {name: _texts(data, name) for name in ("osrc", "odst")}
    halves = ("_lo", "_hi") if "osrc_hi" in data else ("_lo",)
    for name, mirror in (("rsrc", "odst"), ("rdst", "osrc")):
        same = all(np.array_equal(derive.column(data, name + half), data[mirror + half]) for half in halves)
        texts[name] = texts[mirror] if same else _texts(data, name)
    return texts


def _texts(data: derive.Data, name: str) -> list[str]:
    """Return the texts of one endpoint's addresses; each distinct address is formatted once."""
    low, six = derive.column(data, f"{name}_lo"), data["family"] != 2
    if not six.any():
        return _ipv4_texts(low)
    texts = np.empty(len(low), object)
    texts[~six] = _ipv4_texts(low[~six])
    pairs = list(zip(derive.column(data, f"{name}_hi")[six].tolist(), low[six].tolist(), strict=True))
    known = {pair: address_text(10, *pair) for pair in set(pairs)}
    texts[six] = [known[pair] for pair in pairs]
    found: list[str] = texts.tolist()
    return found


def _ipv4_texts(low: Array) -> list[str]:
    if len(low) and (low == low[0]).all():
        return [ipv4_text(int(low[0]))] * len(low)
    values, inverse = np.unique(low.astype(np.uint32), return_inverse=True)
    found: list[str] = np.array([ipv4_text(value) for value in values.tolist()], object)[inverse].tolist()
    return found


@dataclass(frozen=True, slots=True)
class Owners:
    """The processes of some rows: codes, the words of the codes, and process ids, -1 where not known."""

    codes: Array
    words: Sequence[str]
    pids: Array

    def part(self, rows: slice) -> Owners:
        """Return the owners of some of the rows."""
        return Owners(self.codes[rows], self.words, self.pids[rows])


JoinedColumns = tuple[list[Any], ...]  # a list for each of JOINED_VALUES; of events: the one of who caused them
JoinedValues = Callable[[derive.Data, Owners | None], JoinedColumns | None]  # None: all rows are without


def json_joined(data: derive.Data, owners: Owners | None) -> JoinedColumns | None:
    """Return the values in JSON: the rate of both directions, the process's name, its id; None if all are unknown."""
    rates = _rates(data)
    if owners is None and np.isnan(rates).all():
        return None
    rate_texts = ["null" if rate != rate else round(rate) for rate in rates.tolist()]
    if owners is None:
        nulls = ["null"] * len(rate_texts)
        return rate_texts, nulls, nulls
    words = [dumps(word) for word in owners.words]
    pids = owners.pids.tolist()
    names = [words[code] if pid >= 0 else "null" for code, pid in zip(owners.codes.tolist(), pids, strict=True)]
    return rate_texts, names, ["null" if pid < 0 else pid for pid in pids]


def text_joined(rate: bool) -> JoinedValues:
    """Return a function that gives the values in words, ` rate 146k/s` and ` process nginx[812]`, "" if not known."""

    def joined(data: derive.Data, owners: Owners | None) -> JoinedColumns | None:
        if not rate and owners is None:
            return None
        rates = _rates(data) if rate else np.full(len(data["have"]), np.nan)
        rate_texts = ["" if rate != rate else f" rate {units.rate(rate)}" for rate in rates.tolist()]
        nothing = [""] * len(rate_texts)
        return rate_texts, nothing if owners is None else _names(owners), nothing

    return joined


def _names(owners: Owners) -> list[str]:
    words, pairs = [clean(word) for word in owners.words], zip(owners.codes.tolist(), owners.pids.tolist(), strict=True)
    return [f" process {words[code]}[{pid}]" if pid >= 0 else "" for code, pid in pairs]


def _rates(data: derive.Data) -> Array:
    return derive.rate(data) if "rate_up" in data else np.full(len(data["have"]), np.nan)
