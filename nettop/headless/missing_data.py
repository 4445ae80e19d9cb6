"""What was asked of flows and events that the kernel does not keep or a recording lacks: lines that say so, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from nettop.batch import Array
from nettop.model.filter.fields import Mask
from nettop.model.flows import derive
from nettop.model.flows.table import FlowTable
from nettop.model.sysctls import ACCOUNTING
from nettop.pipeline.engine import Engine
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
_TWO_DUMPS = "a rate takes two dumps, `nettop record --keyframe-seconds S` keeps one each S s"
_LATER = "they began after the last dump, or before accounting was on"


def lacking(flows: FlowTable, asked: Collection[str]) -> Iterator[str]:
    """A line for what is not known of the table's flows, or of some, that these columns were asked for."""
    data, live = flows.window(), flows.store.live()
    if not AGES.isdisjoint(asked):
        yield from _unknown("ages", live, derive.birth_known(data), _switch(TIMESTAMPS))
    if not COUNTS.isdisjoint(asked):
        counted = derive.counted(data)
        why = _LATER if _accounted(flows, data["netns"][live & ~counted]) else _switch(ACCOUNTING)
        yield from _unknown("bytes, packets and rates", live, counted, why)


def not_recorded(engine: Engine, asked: Collection[str]) -> Iterator[str]:
    """A line for what a recording that was read to its end lacks, though the kernel may have told it."""
    data, live = engine.flows.window(), engine.flows.store.live()
    if not RATES.isdisjoint(asked):
        known = ~np.isnan(derive.rate(data)) | ~derive.counted(data)  # what lacks the others is told by lacking()
        yield from _unknown("rates", live, known, _TWO_DUMPS)
    if not OWNERS.isdisjoint(asked) and not any(map(engine.processes.read_ns, range(len(engine.labels)))):
        yield NO_PROCESSES


def _accounted(flows: FlowTable, codes: Array) -> bool:
    """Whether accounting is known to be on in all these namespaces."""
    return all(flows.accounting(code) for code in np.unique(codes).tolist())


def _switch(sysctl: str) -> str:
    return f"`sysctl {sysctl}=1` (for later flows)"


def _unknown(what: str, live: Mask, known: Mask, why: str) -> Iterator[str]:
    flows, lack = int(np.count_nonzero(live)), int(np.count_nonzero(live & ~known))
    if lack:
        whose = "these flows" if lack == flows else f"{grouped(lack)} of {grouped(flows)} flows"
        yield f"the {what} of {whose} are not known: {why}"
