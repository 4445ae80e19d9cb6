"""The columns of the event stream and the text of its cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from nettop import columns as ct
from nettop.model.events.ring import EVENT_GAP, REASONS, UNKNOWN_LOSS
from nettop.model.expectations.expectation import event_word, expectation_of, expected_text, flag_words
from nettop.model.flows.cells import ABSENT, SHARED_COLUMNS, RowView, shared_cell
from nettop.model.table import Cell, Column
from nettop.text import units

StreamName = Callable[[int], str]

KINDS = (ct.EVENT_NEW, ct.EVENT_UPDATE, ct.EVENT_DESTROY)
ROLES = {ct.EVENT_NEW: "new", ct.EVENT_UPDATE: "", ct.EVENT_DESTROY: "dim", EVENT_GAP: "bad"}
ROLES |= {ct.EVENT_EXPECT + kind: ROLES[kind] for kind in KINDS}

# At 80 columns an event keeps its state: the endpoints are narrower, and NAT is dropped first.
_NARROW_WIDTH, _NARROW_RANK = {"original": 36}, {"nat": 3}
_EVENT_COLUMNS = (Column("time", "TIME", 12, frozen=True), Column("event", "EVENT", 7, frozen=True))
COLUMNS = tuple(
    replace(c, width=_NARROW_WIDTH.get(c.key, c.width), rank=_NARROW_RANK.get(c.key, c.rank), sortable=False)
    for c in (*_EVENT_COLUMNS, *SHARED_COLUMNS, Column("lasted", "LASTED", 7, right=True, rank=9))
)
DEFAULT_COLUMNS = ("time", "event", "proto", "state", "original", "nat", "up", "down")


def cell(row: RowView, key: str) -> Cell:
    """Return the text and role of one column's cell of an event."""
    kind = row.value("event")
    if key == "time":
        return units.clock(row.value("ts_ns"), 3), "number"
    if key == "event":
        return event_word(kind), ROLES[kind]
    if kind > ct.EVENT_EXPECT and key in _OTHERWISE:
        return _expectation_cell(row, key)
    return _lasted(row) if key == "lasted" else shared_cell(row, key)


def gap_cells(row: RowView, columns: Sequence[str], stream_name: StreamName) -> list[Cell]:
    """Return the cells of a loss: its text is in the first column after time and event, the others are empty."""
    always = [key for key in columns if key in ("time", "event")]
    found = {key: cell(row, key) for key in always}
    text_column = next((key for key in columns if key not in always), "")
    return [(gap_text(row, stream_name), "bad") if key == text_column else found.get(key, ("", "")) for key in columns]


def gap_text(row: RowView, stream_name: StreamName) -> str:
    """Return a text with the number of lost events, their stream, the reason and the time."""
    lost = row.value("opackets")
    events = units.plural(None if lost == UNKNOWN_LOSS else lost, "event")
    reason = REASONS[row.value("state")].value
    since, until = units.clock(row.value("start_ns"), 2), units.clock(row.value("stop_ns"), 2)
    stream = stream_name(row.value("mark"))
    return f"┄┄ {events} lost ({reason}), {stream}, between {since} and {until} ┄┄"


# Columns that an expectation fills in another way than a flow, or leaves empty.
_OTHERWISE = ("state", "original", "reply", "nat", "up", "down", "packets", "bytes", "mark", "status", "labels")


def _expectation_cell(row: RowView, key: str) -> Cell:
    """Return a cell of an expectation: the helper as its state, the expected tuple, its master as the reply."""
    if key == "state":
        return shared_cell(row, "helper")
    if key == "status":
        return " ".join(flag_words(row.value("expect_flags"))).upper(), ""
    if key not in ("original", "reply"):
        return "", ""
    one = expectation_of(row.data, row.strings)
    if key == "original":
        return expected_text(one), "address"
    return (f"for {row.endpoint('rsrc')}", "address") if row.have & ct.HAVE_MASTER else ABSENT


def _lasted(row: RowView) -> Cell:
    """Return the lifetime of a flow, if the kernel timestamps its start and end."""
    both = ct.HAVE_START | ct.HAVE_STOP
    if row.value("event") > ct.EVENT_EXPECT or row.have & both != both:
        return ABSENT
    return units.duration((row.value("stop_ns") - row.value("start_ns")) / 1e9), "number"
