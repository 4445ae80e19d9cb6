"""One feed: the reading, decoding and recording of a stream, and its pace."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from nettop.batch import Batch, Counter64, Stream
from nettop.broker.client import Broker
from nettop.broker.requests import DumpFilter, NetlinkSocket
from nettop.columns import Strings
from nettop.kinds import StreamKind, TextKind
from nettop.linux.netlink import NETLINK_NETFILTER
from nettop.sources.dumps import DumpSource
from nettop.sources.exchange import Round

OFTEN_S = 10.0  # period of counters in a recording, and of feeds that no visible view shows

Decode = Callable[[Any], Any]  # of a Batch or a Text, into an item for the models of the feed


class Pace(Enum):
    """Frequency at which a recording reads or keeps a feed."""

    EACH = "each time that it is read"
    OFTEN = "every OFTEN_S, or at the pace of keyframes where that is faster"
    KEYFRAME = "at the pace of keyframes"


@dataclass(frozen=True, slots=True)
class Feed:
    """The reading, decoding and recording of one stream of a namespace, and the models that apply it.

    `rounds` make it a source of dumps, `groups` one of events, `texts` one of text snapshots.
    """

    name: str  # of its thread, and in `wakes`
    stream: str = "text"  # Stream.name, in recordings too
    family: int = NETLINK_NETFILTER
    rounds: tuple[Round, ...] = ()  # dumps at the start and when poked
    polled: tuple[Round, ...] = ()  # dumps by time; (): all rounds
    groups: tuple[int, ...] = ()  # multicast groups that its socket joins
    gather_ns: int = 20_000_000  # events of this time make a batch: prompt for a person, dense for NumPy
    rcvbuf: int = 8 << 20  # receive buffer of that socket, bytes
    texts: tuple[TextKind, ...] = ()
    part: str = ""  # of the text that is read
    every_s: float | None = None  # None: only at the start and when poked
    # Views that show it ("flows/detail": one row); none: `every_s` always applies.
    shown_in: frozenset[str] = frozenset()
    unseen_s: float | None = None  # instead of `every_s` while no such view is visible and nothing is recorded
    unseen_rounds: tuple[Round, ...] = ()  # the rounds of that; (): the same
    still_s: float | None = None  # up to this, `every_s` grows by itself with each dump that finds all flows still
    share: float | None = None  # of a core: the limit for reading it
    source: type[DumpSource] = DumpSource
    decoder: Callable[[Strings], Decode] | None = None  # None: models apply the item itself
    models: tuple[str, ...] = ()  # in the order of applying: keys of Engine.models
    flows: bool = False  # its rows are flows, to which the receive filter applies
    announces: Callable[[Batch], bool] | None = None  # whether a batch of events announces a change
    parts_of: Callable[[Batch], frozenset[str]] | None = None  # those of `wakes` that these events are of; None: all
    links: bool = False  # its events are of devices too, which captures follow
    wakes: tuple[str, ...] = ()  # feeds to read again after a change or a loss
    rest_s: float = 0.0  # the shortest time between two changes that it reports
    rest_grows: bool = False  # from a short one: for those that no model asks to read again
    recorded: Pace = Pace.EACH  # how often a recording reads it; EACH: `every_s`
    keep_pace: Pace = Pace.EACH  # how often a recording keeps a dump

    def kinds(self) -> Iterable[str]:
        """Return the kinds of dumps and texts that it reads by time: DumpMark.what or a TextKind's value."""
        return (*(one.what for one in self.polled or self.rounds), *(text.value for text in self.texts))

    def recorded_s(self, keyframe_s: float) -> float | None:
        """Return the seconds between two reads for a recording with keyframes every `keyframe_s`."""
        return self.every_s if self.recorded is Pace.EACH else pace_s(self.recorded, keyframe_s)

    def polling(
        self, visible: Collection[str], recorded: bool, still: int = 0
    ) -> tuple[float | None, tuple[Round, ...]]:
        """Return the seconds between two reads, and their rounds, while these views are visible.

        `still` is the number of dumps in a row that found all flows as they were.
        """
        every_s, rounds = self.every_s, self.polled or self.rounds
        if recorded or not self.shown_in.isdisjoint(visible):
            return every_s, rounds
        if self.shown_in:
            every_s, rounds = self.unseen_s, self.unseen_rounds or rounds
        if every_s is not None and self.still_s is not None:
            every_s = min((1 + still) * every_s, max(every_s, self.still_s))
        return every_s, rounds

    def new_stream(self, number: int, netns: str) -> Stream:
        """Return the stream of this feed in a namespace."""
        kind = StreamKind.TEXT if self.texts else StreamKind.NETLINK
        return Stream(number, kind, self.stream, netns, netlink_family=self.family)

    def dump(
        self, stream: Stream, broker: Broker, sock: NetlinkSocket, seq: Counter64, dump_filter: DumpFilter | None = None
    ) -> DumpSource:
        """Return the source of this feed's dumps, limited by `dump_filter`. `every_s` None: one turn."""
        rounds = self.rounds if dump_filter is None else tuple(one.filtered(dump_filter) for one in self.rounds)
        return self.source(stream, broker, sock, seq, rounds, self.every_s, self.polled or rounds, self.share)


def pace_s(pace: Pace, keyframe_s: float) -> float:
    """Return the seconds of a pace in a recording with keyframes every `keyframe_s`; 0: each time."""
    return {Pace.EACH: 0.0, Pace.OFTEN: min(keyframe_s, OFTEN_S), Pace.KEYFRAME: keyframe_s}[pace]
