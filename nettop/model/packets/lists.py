"""The lists of packets, one for each capture: a new capture puts the list before it aside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from nettop.batch import Stream
from nettop.model.packets.cells import PacketCells
from nettop.model.packets.store import PacketStore
from nettop.text import units


@dataclass(slots=True)
class PacketList:
    """The packets of one capture (Stream.capture), or of a file."""

    number: int
    store: PacketStore
    streams: list[Stream] = field(default_factory=list)
    cells: PacketCells = field(init=False)

    def __post_init__(self) -> None:
        self.cells = PacketCells(self.store)

    @property
    def name(self) -> str:
        """`12:04:31 eth0 eth1 tcp port 443`: its first packet's time, devices and capture filter."""
        first = self.store.first_ns()
        devices = dict.fromkeys(stream.name for stream in self.streams)
        expression = self.streams[0].capture_filter if self.streams else ""
        return " ".join(filter(None, (units.clock(first) if first is not None else "", *devices, expression)))


class PacketLists:
    """The list that a capture fills, the list that is shown, and those put aside: together within `budget` bytes."""

    def __init__(self, new_store: Callable[[], PacketStore], budget: int) -> None:
        self._new_store, self._budget = new_store, budget
        self.live = self.shown = PacketList(0, new_store())
        self.all = [self.live]
        self.dropped = 0  # packets of lists that had to make room

    def expect(self, stream: Stream) -> None:
        """Announce a stream. The first one of a new capture begins a list, which is shown."""
        if stream.capture > self.live.number:
            if self.live.store.seen:
                self.live = PacketList(stream.capture, self._new_store())
                self.all.append(self.live)
            self.live.number, self.live.streams = stream.capture, []
            self.shown = self.live
        self.live.streams.append(stream)
        self.live.store.expect(stream)

    def show(self, number: int) -> None:
        """Show the list of that capture, if it is still there."""
        self.shown = next((one for one in self.all if one.number == number), self.shown)

    def make_room(self) -> None:
        """Drop the oldest lists while all of them take more than the budget."""
        while len(self.all) > 1 and sum(one.store.cost for one in self.all) > self._budget:
            oldest = next(one for one in self.all if one is not self.live)
            self.all.remove(oldest)
            self.dropped += oldest.store.seen - oldest.store.evicted
            oldest.store.close()
            if self.shown is oldest:
                self.shown = self.live
