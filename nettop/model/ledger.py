"""The loss ledger: an account of the records of each stream.

seen = shown + filtered + evicted + unreadable + lost in the queue + lost in the kernel + in flight
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from nettop.batch import Batch, Counters, Gap, Item, NetlinkMeta, Stream, StreamAdded
from nettop.kinds import GapReason, StreamKind
from nettop.text.units import grouped, plural

_BY_KERNEL = (GapReason.KERNEL, GapReason.RING)


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One stream's account, in records. `seen` is the sum of the others; `unknown` counts losses of unknown size."""

    name: str
    netns: str
    seen: int
    shown: int
    filtered: int
    evicted: int
    queue: int
    kernel: int  # the socket's buffer or the ring
    in_flight: int
    unknown: int
    unreadable: int = 0  # damaged: not or only partly shown

    @property
    def lost(self) -> int:
        """The number of records lost for the screen, as far as known."""
        return self.queue + self.kernel

    def equation(self) -> str:
        """Return `kernel 1,205,317 = shown 4,812 + filtered 1,199,301 + ring 1,204 + queue 0 + evicted 0`."""
        terms = [("shown", self.shown), ("filtered", self.filtered), ("lost by the kernel", self.kernel)]
        terms += [("queue", self.queue), ("evicted", self.evicted)]
        terms += [("unreadable", self.unreadable)] if self.unreadable else []
        terms += [("in flight", self.in_flight)] if self.in_flight else []
        text = " + ".join(f"{name} {grouped(count)}" for name, count in terms)
        doubt = f"; {plural(self.unknown, 'loss', 'losses')} of unknown size" if self.unknown else ""
        return f"seen {grouped(self.seen)} = {text}{doubt}"


def summed(rows: Iterable[LedgerRow]) -> list[LedgerRow]:
    """Return one row for each name and namespace: a stream that was restarted continues the earlier account."""
    found: dict[tuple[str, str], LedgerRow] = {}
    for row in rows:
        before = found.get((row.netns, row.name))
        sums = {} if before is None else {name: getattr(before, name) + getattr(row, name) for name in _COUNTED}
        found[row.netns, row.name] = replace(before or row, **sums)
    return list(found.values())


_COUNTED = ("seen", "shown", "filtered", "evicted", "queue", "kernel", "in_flight", "unknown", "unreadable")


@dataclass(slots=True)
class _StreamAccount:
    stream: Stream
    delivered: int = 0
    received: int | None = None  # counted by the kernel, drops included
    dropped: int | None = None
    withheld: int = 0  # delivered, but not given to the models: the receive filter excludes them
    unreadable: int = 0
    filtered: int = 0
    evicted: int = 0
    unknown: int = 0
    lost: dict[GapReason, int] = field(default_factory=lambda: dict.fromkeys(GapReason, 0))

    def kernel(self) -> int:
        """Return the number of records the kernel dropped. Its counter and the gaps report the same records."""
        return max(self.dropped or 0, sum(self.lost[reason] for reason in _BY_KERNEL))

    @property
    def modelled(self) -> int:
        return self.delivered - self.withheld - self.unreadable

    def row(self) -> LedgerRow:
        kernel, queue = self.kernel(), self.lost[GapReason.QUEUE]
        known = self.delivered + kernel + queue
        seen = max(known, self.received or 0)
        not_shown = self.withheld + min(self.filtered + self.evicted, self.modelled)
        evicted = min(self.evicted, not_shown - self.withheld)
        return LedgerRow(
            self.stream.name,
            self.stream.netns,
            seen,
            self.delivered - self.unreadable - not_shown,
            not_shown - evicted,
            evicted,
            queue,
            kernel,
            seen - known,
            self.unknown,
            self.unreadable,
        )


class Ledger:
    """The accounts of all streams. Every item that reaches the models passes `add` first."""

    def __init__(self) -> None:
        self._accounts: dict[int, _StreamAccount] = {}

    def add(self, item: Item) -> None:
        """Count an item: batches as delivered, gaps as lost, counters as the kernel's own counts of the stream."""
        if isinstance(item, StreamAdded):
            self._accounts.setdefault(item.stream.id, _StreamAccount(item.stream)).stream = item.stream
        elif isinstance(item, Batch):
            self._of(item.stream).delivered += _records(item)
        elif isinstance(item, Gap):
            self._gap(item)
        elif isinstance(item, Counters):
            account = self._of(item.stream)
            account.received, account.dropped = item.received, item.dropped

    def set_filtered(self, stream: int, count: int) -> None:
        """Set the number of delivered records that the display filter of this stream's view hides now."""
        self._of(stream).filtered = count

    def set_evicted(self, stream: int, count: int) -> None:
        """Set the number of delivered records evicted by newer ones since the stream began."""
        self._of(stream).evicted = count

    def add_withheld(self, stream: int, count: int) -> None:
        """Count delivered records that were withheld from the models by the receive filter."""
        self._of(stream).withheld += count

    def add_unreadable(self, stream: int, count: int) -> None:
        """Count delivered records that could not be decoded completely."""
        self._of(stream).unreadable += count

    def modelled(self, stream: int) -> int:
        """Return the number of records given to the models."""
        return self._of(stream).modelled

    def row(self, stream: int) -> LedgerRow:
        """Return the account of one stream."""
        return self._of(stream).row()

    def rows(self) -> list[LedgerRow]:
        """Return the accounts of all streams, in the order in which they were added."""
        return [account.row() for account in self._accounts.values()]

    def losses(self) -> dict[GapReason, int]:
        """Return the records lost by all streams, by reason."""
        total = dict.fromkeys(GapReason, 0)
        for account in self._accounts.values():
            by_kernel = GapReason.RING if account.stream.kind is StreamKind.PACKETS else GapReason.KERNEL
            total[by_kernel] += account.kernel()
            for reason in (GapReason.QUEUE, GapReason.FILE, GapReason.RECORDER):
                total[reason] += account.lost[reason]
        return total

    def unknown(self) -> int:
        """Return the number of losses of unknown size."""
        return sum(account.unknown for account in self._accounts.values())

    def unreadable(self) -> int:
        """Return the number of damaged records."""
        return sum(account.unreadable for account in self._accounts.values())

    def any_loss(self) -> bool:
        """Return whether anything was lost or damaged (exit code 5 with --fail-on-loss)."""
        return bool(self.unknown() or self.unreadable() or any(self.losses().values()))

    def lost(self) -> str:
        """Return `0`, `1,204 ring`, `1,204 ring, 30 queue`, `? kernel`: the text of the header."""
        parts = [f"{grouped(count)} {reason.value}" for reason, count in self.losses().items() if count]
        parts += [f"{grouped(count)} unreadable"] if (count := self.unreadable()) else []
        if self.unknown():
            parts.append("and more" if parts else "? (size unknown)")
        return ", ".join(parts) or "0"

    def line(self) -> str:
        """Return `lost 0`, `lost 1,204 ring`."""
        return "lost " + self.lost()

    def _of(self, stream: int) -> _StreamAccount:
        account = self._accounts.get(stream)
        if account is None:
            account = self._accounts[stream] = _StreamAccount(Stream(stream, StreamKind.NETLINK, f"stream {stream}"))
        return account

    def _gap(self, gap: Gap) -> None:
        account = self._of(gap.stream)
        if gap.lost is None:
            account.unknown += 1
        else:
            account.lost[gap.why] += gap.lost


def _records(batch: Batch) -> int:
    """Return the number of records received. Our own requests, recorded with the answers, are no such."""
    if isinstance(batch.meta, NetlinkMeta):
        return len(batch) - int(np.count_nonzero(batch.meta.outgoing))
    return len(batch)
