"""The columns of the event stream and the text of its cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from nettop.columns import (
    EVENT_DESTROY,
    EVENT_EXPECT,
    EVENT_NEW,
    EVENT_UPDATE,
    HAVE_MASTER,
    HAVE_START,
    HAVE_STOP,
)
from nettop.model.events.ring import EVENT_GAP, REASONS, UNKNOWN_LOSS
from nettop.model.expectations.expectation import event_word, expectation_of, expected_text, flag_words
from nettop.model.flows.cells import ABSENT, SHARED_COLUMNS, RowView, shared_cell
from nettop.model.table import Cell, Column
from nettop.text import units

StreamName = Callable[[int], str]

KINDS = (EVENT_NEW, EVENT_UPDATE, EVENT_DESTROY)
ROLES = {EVENT_NEW: "new", EVENT_UPDATE: "", EVENT_DESTROY: "dim", EVENT_GAP: "bad"}
ROLES |= {EVENT_EXPECT + kind: ROLES[kind] for kind in KINDS}

# At 80 columns an event keeps its state: the endpoints have less room, and NAT goes before it.
_NARROW_WIDTH, _NARROW_RANK = {"original": 36}, {"nat": 3}
_OWN = (Column("time", "TIME", 12, frozen=True), Column("event", "EVENT", 7, frozen=True))
COLUMNS = tuple(
    replace(c, width=_NARROW_WIDTH.get(c.key, c.width), rank=_NARROW_RANK.get(c.key, c.rank), sortable=False)
    for c in (*_OWN, *SHARED_COLUMNS, Column("lasted", "LASTED", 7, right=True, rank=9))
)
DEFAULT_COLUMNS = ("time", "event", "proto", "state", "original", "reply", "nat", "up", "down")


def cell(row: RowView, key: str) -> Cell:
    """Return the text and role of one column's cell of an event."""
    kind = row.value("event")
    if key == "time":
        return units.clock(row.value("ts_ns"), 3), "number"
    if key == "event":
        return event_word(kind), ROLES[kind]
    if kind > EVENT_EXPECT and key in _OF_EXPECTATIONS:
        return _expectation_cell(row, key)
    return _lasted(row) if key == "lasted" else shared_cell(row, key)


def gap_cells(row: RowView, columns: Sequence[str], stream_name: StreamName) -> list[Cell]:
    """Return the cells of a loss: it is in the first column but time and event, with empty ones to its right."""
    always = [key for key in columns if key in ("time", "event")]
    found = {key: cell(row, key) for key in always}
    said = next((key for key in columns if key not in always), "")
    return [(gap_text(row, stream_name), "bad") if key == said else found.get(key, ("", "")) for key in columns]


def gap_text(row: RowView, stream_name: StreamName) -> str:
    """Return how many events of which stream were lost, why and when."""
    lost = row.value("opackets")
    count = "an unknown number of" if lost == UNKNOWN_LOSS else units.grouped(lost)
    reason = REASONS[row.value("state")].value
    since, until = units.clock(row.value("start_ns"), 2), units.clock(row.value("stop_ns"), 2)
    stream = stream_name(row.value("mark"))
    events = "event" if lost == 1 else "events"
    return f"┄┄ {count} {events} lost ({reason}), {stream}, between {since} and {until} ┄┄"


# What an expectation says in another way than a flow, or has nothing to say about.
_OF_EXPECTATIONS = ("state", "original", "reply", "nat", "up", "down", "packets", "bytes", "mark", "status", "labels")


def _expectation_cell(row: RowView, key: str) -> Cell:
    """The helper as its state, what is expected, and in place of who is replied to: for which connection."""
    if key == "state":
        return shared_cell(row, "helper")
    if key == "status":
        return " ".join(flag_words(row.value("expect_flags"))).upper(), ""
    if key not in ("original", "reply"):
        return "", ""
    one = expectation_of(row.data, row.strings)
    if key == "original":
        return expected_text(one), "address"
    return (f"for {row.endpoint('rsrc')}", "address") if row.have & HAVE_MASTER else ABSENT


def _lasted(row: RowView) -> Cell:
    """How long a flow lived, where the kernel stamps its beginning and its end."""
    if row.value("event") > EVENT_EXPECT or row.have & (HAVE_START | HAVE_STOP) != HAVE_START | HAVE_STOP:
        return ABSENT
    return units.duration((row.value("stop_ns") - row.value("start_ns")) / 1e9), "number"
