"""Notices about requested data that the kernel does not keep or a recording does not contain, with the reason."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from nettop.model.filter.fields import Mask
from nettop.model.flows import derive
from nettop.model.flows.table import FlowTable
from nettop.model.sysctls import ACCOUNTING
from nettop.pipeline.engine import Engine
from nettop.pipeline.feeds import feed_of
from nettop.text.units import grouped

TIMESTAMPS = "net.netfilter.nf_conntrack_timestamp"
AGES = frozenset(("age", "start", "start_ns"))
RATES = frozenset(("rate", "rate_up", "rate_down"))
OWNERS = frozenset(("process", "pid"))
COUNTS = RATES | frozenset(
    ("bytes", "packets", "up", "down", "opackets", "rpackets", "reply_bytes", "reply_packets", "course")
)
NOT_COUNTED = f"accounting is off, so no event has bytes and packets: `sysctl {ACCOUNTING}=1` (for later flows)"
NO_PROCESSES = "the recording has no lists of processes: no flow's process is known"
NO_EVENTS = "no conntrack messages, so no events: recordings of `nettop record` do, plain captures do not"
NO_FLOWS = "no conntrack messages, so no flows: recordings of `nettop record` do, plain captures do not"
NO_COUNTERS = "no counters: recordings of `nettop record` do, plain captures and copies by other tools do not"
NO_MAP = "no namespaces and devices: recordings of `nettop record` do, plain captures do not"
_TWO_DUMPS = "a rate needs two dumps: `nettop record --keyframe-seconds S` records one every S seconds"
_LATER = "they began after the last dump, or before accounting was on"


def unknown_data(flows: FlowTable, columns: Collection[str]) -> Iterator[str]:
    """Yield a line for each kind of data that these columns need and some live flows do not have."""
    data, live = flows.window(), flows.store.live()
    if not AGES.isdisjoint(columns):
        yield from _unknown("ages", live, derive.birth_known(data), _switch(TIMESTAMPS))
    if not COUNTS.isdisjoint(columns):
        counted = derive.counted(data)
        uncounted_in = np.unique(data["netns"][live & ~counted]).tolist()
        reason = _LATER if all(map(flows.accounting, uncounted_in)) else _switch(ACCOUNTING)
        yield from _unknown("bytes, packets and rates", live, counted, reason)


def unrecorded_data(engine: Engine, columns: Collection[str]) -> Iterator[str]:
    """Yield a line for each kind of data that these columns need and a recording, read to its end, does not contain."""
    data, live = engine.flows.window(), engine.flows.store.live()
    if not RATES.isdisjoint(columns):
        known = ~np.isnan(derive.rate(data)) | ~derive.counted(data)  # flows without counters: see unknown_data()
        yield from _unknown("rates", live, known, _TWO_DUMPS)
    if not OWNERS.isdisjoint(columns) and not any(map(engine.processes.read_ns, range(len(engine.labels)))):
        yield NO_PROCESSES


def records_flows(engine: Engine) -> bool:
    """Return whether what was read has conntrack messages: without any, an empty table says nothing."""
    if len(engine.flows) or engine.flows.dumped_ns:
        return True
    return any(
        (feed := feed_of(stream)) is not None and feed.flows and engine.ledger.row(stream.id).seen
        for stream in engine.streams.values()
    )


def _switch(sysctl: str) -> str:
    return f"`sysctl {sysctl}=1` (for later flows)"


def _unknown(data: str, live: Mask, known: Mask, reason: str) -> Iterator[str]:
    flows, missing = int(np.count_nonzero(live)), int(np.count_nonzero(live & ~known))
    if missing:
        which = "these flows" if missing == flows else f"{grouped(missing)} of {grouped(flows)} flows"
        yield f"the {data} of {which} are not known: {reason}"
