"""What was asked of flows and events that the kernel does not keep: lines that say so, and what to do."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from nettop.model import flow_derive as derive
from nettop.model.filter_fields import Mask
from nettop.model.flows import FlowTable
from nettop.text.units import grouped

ACCOUNTING, TIMESTAMPS = "net.netfilter.nf_conntrack_acct", "net.netfilter.nf_conntrack_timestamp"
AGES = frozenset(("age", "start", "start_ns"))
RATES = frozenset(("rate", "rate_up", "rate_down"))
COUNTS = RATES | frozenset(
    ("bytes", "packets", "up", "down", "opackets", "rpackets", "reply_bytes", "reply_packets", "course")
)
NOT_COUNTED = f"accounting is off, so no event has bytes and packets: `sysctl {ACCOUNTING}=1` (for later flows)"


def lacking(flows: FlowTable, asked: Collection[str]) -> Iterator[str]:
    """A line for what is not known of the table's flows, or of some, that these columns were asked for."""
    data, live = flows.window(), flows.store.live()
    if not AGES.isdisjoint(asked):
        yield from _unknown("ages", live, derive.birth_known(data), TIMESTAMPS)
    if not COUNTS.isdisjoint(asked):
        yield from _unknown("bytes, packets and rates", live, derive.counted(data), ACCOUNTING)


def _unknown(what: str, live: Mask, known: Mask, sysctl: str) -> Iterator[str]:
    flows, lack = int(np.count_nonzero(live)), int(np.count_nonzero(live & ~known))
    if lack:
        whose = "these flows" if lack == flows else f"{grouped(lack)} of {grouped(flows)} flows"
        yield f"the {what} of {whose} are not known: `sysctl {sysctl}=1` (for later flows)"
