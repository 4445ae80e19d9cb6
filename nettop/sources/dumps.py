"""A source of kernel dumps: at its start, periodically, when poked, and again if one was incomplete."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress

from nettop.batch import Batch, Counter64, End, Item, Stream, StreamAdded
from nettop.broker.client import Broker
from nettop.broker.requests import NetlinkSocket
from nettop.errors import BrokerError
from nettop.sources.exchange import Exchange, Round
from nettop.sources.netlink import ALL_PARTS, Receiver

SHARE = 0.03  # of a core, for one kind of dump: all polling must stay below 5 %
_DOWNSTREAM = 1.6  # the cost of a dump with decoding and applying its rows, relative to receiving it
_RETRIES_NS = (0, 200_000_000, 1_000_000_000)  # pauses before an incomplete dump is requested again
_READ_NS = 10_000_000  # the longest time of one read while answers are queued
_SECOND = 1_000_000_000


class DumpSource:
    """Runs rounds of dumps in turns: all `rounds` at the start and when poked, `polled` ones every `interval` seconds.

    `interval` None: one turn, then the End. With `share` the interval is stretched so that the turns take at most that
    part of a core. poke() is thread-safe; the thread that waits on due_ns() must be woken after it.
    """

    def __init__(
        self,
        stream: Stream,
        broker: Broker,
        netlink_socket: NetlinkSocket,
        seq: Counter64,
        rounds: Sequence[Round],
        interval: float | None,
        polled: Sequence[Round] | None = None,
        share: float | None = SHARE,
    ) -> None:
        self._stream, self._seq, self._broker, self._socket = stream, seq, broker, netlink_socket
        self._rounds, self._polled = tuple(rounds), tuple(rounds if polled is None else polled)
        self._interval_ns = None if interval is None else int(interval * _SECOND)
        self._share = share
        self._receiver = Receiver(stream.id, netlink_socket, seq)
        self._exchange = Exchange(stream.id, broker, netlink_socket, self._receiver, seq)
        self._todo: deque[Round] = deque()
        self._tries = 0
        self._announced = False
        self._pokes = deque((ALL_PARTS,))
        self._of_parts = False  # the current turn
        self._busy_ns = 0  # its cost
        self._cost_ns: int | None = None  # of the turn of all rounds before
        self._began_ns = self._next_ns = self._rest_until_ns = 0
        self._stretched_ns = 0  # the shortest interval that `share` allows, by the cost of the last turns
        self._unsettled: set[Round] = set()  # those that changes interrupted in the last turn, again and again
        self._answered = 0  # bytes of the current round
        self._not_before_ns: dict[Round, int] = {}  # when rounds with large answers may be polled again

    def fileno(self) -> int:
        """Return the netlink socket."""
        return self._receiver.fileno()

    def due_ns(self) -> int | None:
        """Return the time of the next request or, during a dump, of its timeout, in monotonic ns."""
        if self._exchange.active:
            return self._exchange.due_ns
        if self._todo:
            return self._next_ns
        return min(self._turn_ns(), self._rest_until_ns) if self._pokes else self._turn_ns()

    @property
    def cost_ns(self) -> int:
        """The cost of the last turn of all rounds, in time of our thread and of the broker's."""
        return self._cost_ns or 0

    def poke(self, parts: Iterable[str] = ALL_PARTS) -> None:
        """Run all rounds, or those of these parts, now (after the current turn and a pause as long as its cost)."""
        self._pokes.append(frozenset(parts))

    def pace(self, interval: float | None, polled: Sequence[Round]) -> None:
        """Poll these rounds every `interval` seconds from now on. Thread-safe, like poke()."""
        self._interval_ns, self._polled = None if interval is None else int(interval * _SECOND), tuple(polled)

    def read(self, max_bytes: int) -> list[Item]:
        """Return the begin mark of a dump that is due, or the next answers of the current one (all of a small one)."""
        items: list[Item] = [] if self._announced else [StreamAdded(self._stream, self._seq.next())]
        self._announced = True
        if not self._exchange.active:
            items += self._receiver.receive(max_bytes)  # late answers of a dump that timed out
            self._start_turn()
            if self._todo and time.monotonic_ns() >= self._next_ns:
                items += self._exchange.begin(self._todo[0])
        else:
            items += self._answers(max_bytes)
        return items

    def _answers(self, max_bytes: int) -> list[Item]:
        items, until = list[Item](), time.monotonic_ns() + _READ_NS
        while self._exchange.active and max_bytes > 0 and time.monotonic_ns() < until:
            answers = self._continue(max_bytes)
            if not answers:
                break
            items += answers
            max_bytes -= sum(len(item.buf) for item in answers if isinstance(item, Batch))
        return items

    def losses(self) -> list[Item]:
        """Return the Gaps and Counters since the last call. A dump with a Gap in it is incomplete."""
        return self._receiver.losses() if self._announced else []

    def close(self) -> None:
        """Close the socket, here and in the broker."""
        self._receiver.close()
        self._exchange.close()
        with suppress(BrokerError):
            self._broker.release(self._socket)

    def _start_turn(self) -> None:
        if self._todo:
            return
        now = time.monotonic_ns()
        if self._pokes and now >= self._rest_until_ns:
            rounds = self._rounds_of(frozenset[str]().union(*(self._pokes.popleft() for _ in range(len(self._pokes)))))
            self._begin_turn(rounds, of_parts=rounds is not self._rounds)
        elif now >= self._turn_ns():
            self._begin_turn(self._rested(self._polled))

    def _rested(self, rounds: Iterable[Round]) -> list[Round]:
        """Return the rounds that may be polled again."""
        now = time.monotonic_ns()
        return [one for one in rounds if now >= self._not_before_ns.get(one, 0)]

    def _begin_turn(self, rounds: Sequence[Round], of_parts: bool = False) -> None:
        """Begin a turn of these rounds. That of parts does not count as one of all."""
        now = time.monotonic_ns()
        self._todo.extend(rounds)
        self._next_ns, self._busy_ns, self._of_parts = now, 0, of_parts
        self._began_ns = self._began_ns if of_parts else now

    def _rounds_of(self, parts: Collection[str]) -> Sequence[Round]:
        """Return the rounds that read these parts: all of them, unless a kind of dump has parts."""
        return self._rounds

    def _continue(self, max_bytes: int) -> list[Item]:
        began = time.thread_time_ns()
        items = self._exchange.read(max_bytes)
        self._busy_ns += time.thread_time_ns() - began + self._exchange.pop_sent_ns()
        self._answered += sum(len(item.buf) for item in items if isinstance(item, Batch))
        if self._exchange.active:
            return items
        current, answered, self._answered = self._todo[0], self._answered, 0
        if current.rest_ns_a_byte:
            self._not_before_ns[current] = self._began_ns + answered * current.rest_ns_a_byte
        if self._exchange.complete:
            self._unsettled.discard(current)
        again = not self._exchange.complete and not self._exchange.refused
        if again and self._tries < self._retries(current):
            self._next_ns = time.monotonic_ns() + _RETRIES_NS[self._tries]
            self._tries += 1
            return items
        self._todo.popleft()
        self._tries = 0
        return items if self._todo else items + self._end_turn()

    def _retries(self, current: Round) -> int:
        """Return how often to request an incomplete round again.

        Where changes come without a pause no dump is of one state: the next turn is enough then, if there is one.
        """
        interrupted = self._exchange.interrupted and self._interval_ns is not None
        retries = int(current not in self._unsettled) if interrupted else len(_RETRIES_NS)
        if interrupted and self._tries >= retries:
            self._unsettled.add(current)
        return retries

    def _turn_ns(self) -> int:
        """Return the time of the next periodic turn."""
        return self._began_ns + max(self._interval_ns or 0, self._stretched_ns)

    def _end_turn(self) -> list[Item]:
        now = time.monotonic_ns()
        if self._interval_ns is None:
            return [End(self._stream.id, self._seq.next())]
        self._rest_until_ns = now + self._busy_ns
        if self._of_parts:  # neither the time of the next turn nor its share depend on it
            return []
        # One slow turn (the machine was busy, another dump held the broker) must not stop polling for the next minute.
        cost = self._busy_ns if self._cost_ns is None else min(self._busy_ns, self._cost_ns)
        self._cost_ns = self._busy_ns
        self._stretched_ns = int(cost * _DOWNSTREAM / self._share) if self._share else 0
        return []
