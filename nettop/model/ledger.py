"""The loss ledger, by stream.

seen = shown + filtered + evicted + unreadable + lost in the queue + lost in the kernel + in flight
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from nettop.batch import Batch, Counters, Gap, Item, NetlinkMeta, Stream, StreamAdded
from nettop.kinds import GapReason, StreamKind
from nettop.text.units import grouped

# Who lost it, in the words of the header.
WORDS = {
    GapReason.KERNEL: "kernel",
    GapReason.RING: "ring",
    GapReason.QUEUE: "queue",
    GapReason.FILE: "file",
    GapReason.RECORDER: "recorder",
}
_BY_KERNEL = (GapReason.KERNEL, GapReason.RING)


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One stream's account, in records. `seen` is the sum of the others; `unknown` counts losses of unknown size."""

    stream: int
    name: str
    netns: str
    seen: int
    shown: int
    filtered: int
    evicted: int
    queue: int
    kernel: int  # the socket's buffer or the ring
    in_flight: int
    other: int  # in a file or by the recorder: not part of `seen` for the recorder, which only copies
    unknown: int
    unreadable: int = 0  # damaged: nothing, or not all, of them is shown

    @property
    def lost(self) -> int:
        """Records lost for the screen, of known number."""
        return self.queue + self.kernel

    def equation(self) -> str:
        """`kernel 1,205,317 = shown 4,812 + filtered 1,199,301 + ring 1,204 + queue 0 + evicted 0`."""
        terms = [("shown", self.shown), ("filtered", self.filtered), ("lost by the kernel", self.kernel)]
        terms += [("queue", self.queue), ("evicted", self.evicted)]
        terms += [("unreadable", self.unreadable)] if self.unreadable else []
        terms += [("in flight", self.in_flight)] if self.in_flight else []
        text = " + ".join(f"{name} {grouped(count)}" for name, count in terms)
        doubt = f"; {self.unknown} losses of unknown size" if self.unknown else ""
        return f"seen {grouped(self.seen)} = {text}{doubt}"


def summed(rows: Iterable[LedgerRow]) -> list[LedgerRow]:
    """One row for each name in each namespace: a stream that began anew counts on where the one before it stopped."""
    found: dict[tuple[str, str], LedgerRow] = {}
    for row in rows:
        before = found.get((row.netns, row.name))
        found[row.netns, row.name] = row if before is None else _sum(before, row)
    return list(found.values())


def _sum(one: LedgerRow, other: LedgerRow) -> LedgerRow:
    return replace(one, **{name: getattr(one, name) + getattr(other, name) for name in _COUNTED})


_COUNTED = ("seen", "shown", "filtered", "evicted", "queue", "kernel", "in_flight", "other", "unknown", "unreadable")


@dataclass(slots=True)
class _Account:
    stream: Stream
    delivered: int = 0
    received: int | None = None  # the kernel's own count, drops included
    dropped: int | None = None
    withheld: int = 0  # delivered, but kept from the models: only some flows are wanted
    unreadable: int = 0
    filtered: int = 0
    evicted: int = 0
    unknown: int = 0
    lost: dict[GapReason, int] = field(default_factory=lambda: dict.fromkeys(GapReason, 0))

    def kernel(self) -> int:
        """What the kernel dropped: its counter and the gaps tell of the same records, whichever came first."""
        return max(self.dropped or 0, sum(self.lost[why] for why in _BY_KERNEL))

    @property
    def modelled(self) -> int:
        return self.delivered - self.withheld - self.unreadable

    def row(self) -> LedgerRow:
        kernel, queue, lost_file = self.kernel(), self.lost[GapReason.QUEUE], self.lost[GapReason.FILE]
        known = self.delivered + kernel + queue
        seen = max(known, self.received or 0)
        gone = self.withheld + min(self.filtered + self.evicted, self.modelled)
        evicted = min(self.evicted, gone - self.withheld)
        return LedgerRow(
            self.stream.id,
            self.stream.name,
            self.stream.netns,
            seen,
            self.delivered - self.unreadable - gone,
            gone - evicted,
            evicted,
            queue,
            kernel,
            seen - known,
            lost_file + self.lost[GapReason.RECORDER],
            self.unknown,
            self.unreadable,
        )


class Ledger:
    """Keeps the accounts. Everything that reaches the models goes through `take`, at the hand-off's far end."""

    def __init__(self) -> None:
        self._accounts: dict[int, _Account] = {}

    def take(self, item: Item) -> None:
        """Book an item: batches as delivered, gaps as lost, counters as what the kernel says of the stream."""
        if isinstance(item, StreamAdded):
            self._accounts.setdefault(item.stream.id, _Account(item.stream)).stream = item.stream
        elif isinstance(item, Batch):
            self._of(item.stream).delivered += _records(item)
        elif isinstance(item, Gap):
            self._gap(item)
        elif isinstance(item, Counters):
            account = self._of(item.stream)
            account.received, account.dropped = item.received, item.dropped

    def set_filtered(self, stream: int, count: int) -> None:
        """How many delivered records the display filter of this stream's view hides now."""
        self._of(stream).filtered = count

    def set_evicted(self, stream: int, count: int) -> None:
        """How many delivered records made room for newer ones, since the stream began."""
        self._of(stream).evicted = count

    def withhold(self, stream: int, count: int) -> None:
        """So many more delivered records are kept from the models: they are filtered for good."""
        self._of(stream).withheld += count

    def spoil(self, stream: int, count: int) -> None:
        """So many more delivered records could not be decoded, or not as a whole."""
        self._of(stream).unreadable += count

    def modelled(self, stream: int) -> int:
        """How many records the models were given."""
        return self._of(stream).modelled

    def row(self, stream: int) -> LedgerRow:
        """One stream's account."""
        return self._of(stream).row()

    def rows(self) -> list[LedgerRow]:
        """Every stream's account, in the order they were added."""
        return [account.row() for account in self._accounts.values()]

    def losses(self) -> dict[GapReason, int]:
        """Records lost, by whom, over all streams."""
        total = dict.fromkeys(GapReason, 0)
        for account in self._accounts.values():
            by_kernel = GapReason.RING if account.stream.kind is StreamKind.PACKETS else GapReason.KERNEL
            total[by_kernel] += account.kernel()
            for why in (GapReason.QUEUE, GapReason.FILE, GapReason.RECORDER):
                total[why] += account.lost[why]
        return total

    def unknown(self) -> int:
        """Losses whose size nobody knows."""
        return sum(account.unknown for account in self._accounts.values())

    def unreadable(self) -> int:
        """Records that came and are damaged."""
        return sum(account.unreadable for account in self._accounts.values())

    def any_loss(self) -> bool:
        """Whether anything at all was lost (exit code 5 under --fail-on-loss)."""
        return bool(self.unknown() or self.unreadable() or any(self.losses().values()))

    def lost(self) -> str:
        """`0`, `1,204 ring`, `1,204 ring, 30 queue`, `? kernel`: the header's words."""
        parts = [f"{grouped(count)} {WORDS[why]}" for why, count in self.losses().items() if count]
        parts += [f"{grouped(count)} unreadable"] if (count := self.unreadable()) else []
        if self.unknown():
            parts.append("and more" if parts else "? (size unknown)")
        return ", ".join(parts) or "0"

    def line(self) -> str:
        """`lost 0`, `lost 1,204 ring`."""
        return "lost " + self.lost()

    def _of(self, stream: int) -> _Account:
        account = self._accounts.get(stream)
        if account is None:
            account = self._accounts[stream] = _Account(Stream(stream, StreamKind.NETLINK, f"stream {stream}"))
        return account

    def _gap(self, gap: Gap) -> None:
        account = self._of(gap.stream)
        if gap.lost is None:
            account.unknown += 1
        else:
            account.lost[gap.why] += gap.lost


def _records(batch: Batch) -> int:
    """Records of others: our own requests are recorded beside the answers, but nobody sent them to us."""
    if isinstance(batch.meta, NetlinkMeta):
        return len(batch) - int(np.count_nonzero(batch.meta.outgoing))
    return len(batch)
