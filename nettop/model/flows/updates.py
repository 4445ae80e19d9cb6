"""The updates of the flow table by dumps and events.

The key is (namespace, zone, protocols, original tuple); the conntrack id confirms it: the same key with another id is
another lifetime. Dumps and events race, since they come over two sockets: rows of a dump do not revive a flow that was
destroyed since the dump began, and a flow without a DESTROY is removed only after a complete dump without it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nettop import columns as ct
from nettop.batch import Array
from nettop.model.flows import rates as flow_rates
from nettop.model.flows.lifetimes import Lifetimes, has_repeats, split_lifetimes
from nettop.model.flows.stillness import are_still
from nettop.model.flows.store import (
    BORN,
    DEAD,
    FRESH,
    HI_DTYPES,
    LIVE,
    RECYCLED,
    REPORTED,
    SEEN,
    SINCE_BEGIN,
    TOUCHED,
    FlowKeys,
    FlowStore,
)

# The columns that are set with each bit of `have`. Those of the key are set once, when the row is added.
_COLUMNS_OF: tuple[tuple[int, tuple[str, ...]], ...] = (
    (ct.HAVE_REPLY, ("rsrc_lo", "rdst_lo")),
    (ct.HAVE_RPORTS, ("rsport", "rdport")),
    (ct.HAVE_STATUS, ("status",)),
    (ct.HAVE_TIMEOUT, ("timeout",)),
    (ct.HAVE_MARK, ("mark",)),
    (ct.HAVE_ID, ("id",)),
    (ct.HAVE_OCOUNT, ("opackets", "obytes")),
    (ct.HAVE_RCOUNT, ("rpackets", "rbytes")),
    (ct.HAVE_START, ("start_ns",)),
    (ct.HAVE_STATE, ("state",)),
    (ct.HAVE_HELPER, ("helper",)),
    (ct.HAVE_LABELS, ("labels",)),
    (ct.HAVE_USE, ("use",)),
)
# Those whose changes cause events.
_EVENT_BORNE = ct.HAVE_STATUS | ct.HAVE_MARK | ct.HAVE_STATE | ct.HAVE_HELPER | ct.HAVE_LABELS
_STORED = ~np.uint32(ct.HAVE_EVENT_TS | ct.HAVE_STOP)


# Flows that a complete dump may bring twice: the kernel begins a bucket again if the flow it had stopped at is gone.
_REPEATS, _ROWS_A_REPEAT = 64, 256


@dataclass(slots=True)
class _Dump:
    """A dump so far: its rows, and those whose flow it had brought before."""

    rows: int = 0
    repeats: int = 0
    still: bool = True  # it added no flow, and those that it brought have carried no packet
    read_ns: int = 0  # when its first rows were read
    passed_ns: int = 0  # since those of the dump before


class FlowUpdates:
    """The updates of a store by decoded rows and dump marks."""

    def __init__(self, store: FlowStore) -> None:
        self.store = store
        self._open: dict[int, _Dump] = {}  # dumps in progress, by namespace
        self._read_ns: dict[int, int] = {}  # when the last dump was read, by namespace

    def begin(self, netns: int) -> None:
        """Begin a dump of this namespace's flows."""
        self._release_dead(netns)
        flags = self.store["flags"][: self.store.top]
        flags[self._in_namespace(netns)] &= ~np.uint8(SINCE_BEGIN)
        self._open[netns] = _Dump()

    def end(self, netns: int, complete: bool) -> bool:
        """End the dump. A complete one removes the flows that it does not have, except those created since it began.

        Return whether it was complete: not if many flows came twice, since as many may then be missing.
        """
        ended = self._open.pop(netns, None)
        if ended is None:
            return complete
        self._release_dead(netns)
        complete = complete and ended.repeats <= _REPEATS + ended.rows // _ROWS_A_REPEAT
        if complete:
            flags = self.store["flags"][: self.store.top]
            gone = (self._in_namespace(netns) & (flags & (LIVE | SEEN | FRESH) == LIVE)).nonzero()[0]
            self.store.release(gone)
            ended.still = ended.still and not len(gone)
        before = self.store.still_dumps.get(netns, 0)
        self.store.still_dumps[netns] = before + 1 if complete and ended.still else 0
        self._read_ns[netns] = ended.read_ns
        return complete

    def dump_rows(self, cols: ct.Columns, netns: int) -> int:
        """Apply rows of a dump, in order of arrival, and return how many flows they added."""
        keys, cols = self._keyed(netns, cols)
        dump = self._open.get(netns) or _Dump()
        dump.rows += len(cols)
        if len(cols) and not dump.read_ns:
            dump.read_ns = int(cols["ts_ns"][0])
            dump.passed_ns = dump.read_ns - self._read_ns.get(netns, 0)
        if has_repeats(keys.hashes):  # a flow moved within the kernel's hash meanwhile: the later row is used
            _, last = np.unique(keys.hashes[::-1], return_index=True)
            rounds = _distinct(keys, np.sort(len(cols) - 1 - last))
            dump.repeats += len(cols) - sum(map(len, rounds))
            return sum(self._dump_round(cols.take(rows), keys.take(rows), dump) for rows in rounds)
        return self._dump_round(cols, keys, dump) if len(cols) else 0

    def events(self, cols: ct.Columns, netns: int) -> None:
        """Apply rows of the event stream, in order of arrival."""
        keys, cols = self._keyed(netns, cols)
        self.store.still_dumps[netns] = -1  # the next dump only begins a time without changes
        if len(cols):
            for lifetimes in split_lifetimes(cols, keys):
                self._event_round(cols, keys, lifetimes, netns in self._open)

    def _keyed(self, netns: int, cols: ct.Columns) -> tuple[FlowKeys, ct.Columns]:
        keyed = (cols["have"] & ct.HAVE_ORIG) != 0
        if not keyed.all():
            cols = cols.take(keyed)  # the others have no key
        return self.store.keys(netns, cols), cols

    def _in_namespace(self, netns: int) -> Array:
        return np.asarray(self.store["netns"][: self.store.top] == netns)

    def _release_dead(self, netns: int) -> None:
        dead = self.store["flags"][: self.store.top] & DEAD != 0
        self.store.release((dead & self._in_namespace(netns)).nonzero()[0])

    def _dump_round(self, cols: ct.Columns, keys: FlowKeys, dump: _Dump) -> int:
        rows = self.store.find(keys)
        known = (rows >= 0).nonzero()[0]
        if not len(known):
            dump.still = False
            self._dump_new(cols, keys, np.arange(len(cols)))
            return len(cols)
        flags, other = self.store["flags"][rows[known]], self._other_lifetime(cols, known, rows[known])
        dump.repeats += int(np.count_nonzero(flags & SEEN))
        dead, again = flags & DEAD != 0, flags & (RECYCLED | FRESH) != 0
        outdated = dead & (~other | again) | ~dead & other & (flags & FRESH != 0)
        restarted = (dead | other) & ~outdated
        if outdated.any():
            known, restarted = known[~outdated], restarted[~outdated]
        self._restart(rows[known[restarted]], cols["ts_ns"][known[restarted]], LIVE)
        new = (rows < 0).nonzero()[0]
        added = len(new) + int(np.count_nonzero(restarted))
        dump.still = dump.still and not added and are_still(self.store, rows[known], cols, known, dump.passed_ns)
        self._dump_known(cols, known, rows[known])
        self._dump_new(cols, keys, new)
        return added

    def _dump_new(self, cols: ct.Columns, keys: FlowKeys, new: Array) -> None:
        if not len(new):
            return
        everything = len(new) == len(cols)
        part = cols if everything else cols.take(new)
        rows = self.store.add(keys if everything else keys.take(new))
        self.store["flags"][rows] = LIVE | SEEN
        self.store["first_ns"][rows] = part["ts_ns"]
        have = part["have"] & _STORED
        self.store["have"][rows] = have
        self._write(rows, part, have)
        flow_rates.begin(self.store, rows, part["ts_ns"], have)

    def _dump_known(self, cols: ct.Columns, known: Array, rows: Array) -> None:
        if not len(known):
            return
        part = cols if len(known) == len(cols) else cols.take(known)
        have, had, flags = part["have"] & _STORED, self.store["have"][rows], self.store["flags"][rows]
        soon = flow_rates.measure(self.store, rows, part, have, had)
        newer = np.where(flags & TOUCHED != 0, had & np.uint32(_EVENT_BORNE), np.uint32(0))
        self.store["have"][rows] = have | newer
        self.store["flags"][rows] = flags | SEEN
        self._write(rows, part, have & ~newer)
        flow_rates.begin(self.store, rows[~soon], part["ts_ns"][~soon], have[~soon])

    def _event_round(self, cols: ct.Columns, keys: FlowKeys, lifetimes: Lifetimes, dump_open: bool) -> None:
        first = lifetimes.first()
        first_keys = keys.take(first)
        rows = self.store.find(first_keys)
        if lifetimes.dies.any():
            self._destroy(cols, first_keys, lifetimes, rows, dump_open)
        living = (~lifetimes.dies).nonzero()[0]
        if len(living):
            self._keep(cols, first_keys, lifetimes, rows, living, dump_open)

    def _destroy(
        self, cols: ct.Columns, first_keys: FlowKeys, lifetimes: Lifetimes, rows: Array, dump_open: bool
    ) -> None:
        last = lifetimes.last()
        known = lifetimes.dies & (rows >= 0)
        single = lifetimes.lengths() == 1
        flags, other = np.zeros(len(rows), np.uint8), np.zeros(len(rows), np.bool_)
        flags[known] = self.store["flags"][rows[known]]
        other[known] = self._other_lifetime(cols, last[known], rows[known])
        # The DESTROY of an older lifetime, overtaken by the dump that added the newer one, which has had no event.
        outdated = known & single & other & (flags & (DEAD | REPORTED) == 0)
        gone = known & ~outdated
        if not dump_open:
            self.store.release(rows[gone])
            return
        several = lifetimes.skipped | other | (flags & (DEAD | FRESH | RECYCLED) != 0) | ~known & ~single
        unknown = lifetimes.dies & ~known
        if unknown.any():
            rows = rows.copy()
            rows[unknown] = self.store.add(first_keys.take(unknown))
        dying = gone | unknown
        self.store["flags"][rows[dying]] = np.where(several[dying], DEAD | RECYCLED, DEAD)
        self._remember(cols, last[dying], rows[dying])

    def _remember(self, cols: ct.Columns, at: Array, rows: Array) -> None:
        """Store the ids with which these rows died."""
        have = cols["have"][at] & np.uint32(ct.HAVE_ID)
        self.store["have"][rows] = have
        ids = cols.get("id")
        if ids is not None:
            self.store["id"][rows] = ids[at]

    def _keep(
        self, cols: ct.Columns, first_keys: FlowKeys, lifetimes: Lifetimes, rows: Array, living: Array, dump_open: bool
    ) -> None:
        first, lengths, rows = lifetimes.first()[living], lifetimes.lengths()[living], rows[living]
        ts = cols["ts_ns"][first]
        fresh = LIVE | FRESH if dump_open else LIVE
        new = (rows < 0).nonzero()[0]
        old = (rows >= 0).nonzero()[0]
        if len(old):
            was_dead = self.store["flags"][rows[old]] & DEAD != 0
            again = old[was_dead | lifetimes.skipped | self._other_lifetime(cols, first[old], rows[old])]
            self._restart(rows[again], ts[again], fresh | RECYCLED if dump_open else fresh)
        if len(new):
            rows[new] = self.store.add(first_keys if len(new) == len(first_keys) else first_keys.take(living[new]))
            self.store["flags"][rows[new]] = fresh
            self.store["first_ns"][rows[new]] = ts[new]
        born = cols["event"][first] == ct.EVENT_NEW
        self.store["first_ns"][rows[born]] = ts[born]
        flags = np.where(born, BORN, 0).astype(np.uint8) | np.uint8(REPORTED | TOUCHED if dump_open else REPORTED)
        self.store["flags"][rows] |= flags
        batch_rows = lifetimes.rows[np.repeat(~lifetimes.dies, lifetimes.lengths())]
        part = cols.take(batch_rows)
        have = part["have"] & _STORED
        starts = np.cumsum(lengths) - lengths
        self.store["have"][rows] |= np.bitwise_or.reduceat(have, starts)
        table_rows = np.repeat(rows, lengths)
        self._write(table_rows, part, have)
        flow_rates.begin(self.store, table_rows, part["ts_ns"], have)

    def _other_lifetime(self, cols: ct.Columns, at: Array, rows: Array) -> Array:
        """Return a mask: where the batch's rows `at` have another id than the table's rows."""
        ids = cols.get("id")
        if ids is None:
            return np.zeros(len(at), np.bool_)
        both = cols["have"][at] & self.store["have"][rows] & ct.HAVE_ID != 0
        return np.asarray(both & (ids[at] != self.store["id"][rows]))

    def _restart(self, rows: Array, ts: Array, flags: int) -> None:
        if len(rows):
            self.store.restart(rows)
            self.store["flags"][rows] = flags
            self.store["first_ns"][rows] = ts

    def _write(self, rows: Array, cols: ct.Columns, have: Array) -> None:
        """Write the values that the batch's rows have; where a table row occurs twice the later value stays."""
        some, every = int(np.bitwise_or.reduce(have)), int(np.bitwise_and.reduce(have))
        if "rsrc_hi" in cols:
            self.store.add_columns(HI_DTYPES)
        for bit, names in _COLUMNS_OF:
            if some & bit:
                where = None if every & bit else (have & bit != 0).nonzero()[0]
                for name in names:
                    _assign(self.store[name], rows, cols.get(name), where)
        if "rsrc_hi" in self.store.data and some & ct.HAVE_REPLY:
            where = None if every & ct.HAVE_REPLY else (have & ct.HAVE_REPLY != 0).nonzero()[0]
            for name in ct.FLOW_HI[2:]:
                _assign(self.store[name], rows, cols.get(name), where)
        if "mproto" in cols and some & ct.HAVE_MASTER:
            self._write_masters(rows, cols, (have & ct.HAVE_MASTER != 0).nonzero()[0])

    def _write_masters(self, rows: Array, cols: ct.Columns, where: Array) -> None:
        self.store.add_columns(ct.MASTER_DTYPES)
        for name in ct.MASTER_DTYPES:
            column = cols.get(name)
            self.store[name][rows[where]] = 0 if column is None else column[where]


def _assign(column: Array, rows: Array, values: Array | None, where: Array | None) -> None:
    if values is None:
        return
    if where is None:
        column[rows] = values
    else:
        column[rows[where]] = values[where]


def _distinct(keys: FlowKeys, rows: Array) -> list[Array]:
    """Return these rows, whose hashes differ, as one round; where keys share a hash, one round per row of the batch."""
    order = np.argsort(keys.hashes, kind="stable")
    repeats = (keys.hashes[order][1:] == keys.hashes[order][:-1]).nonzero()[0]
    if keys.equal(order[repeats], order[repeats + 1]).all():
        return [rows]
    return [np.array([row]) for row in range(len(keys))]
