"""A source of text snapshots: the output of tools that the broker runs, at the start and when poked."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from nettop.batch import Counter64, End, Item, Stream, StreamAdded, Text
from nettop.broker.calls import ENDED
from nettop.broker.client import Broker
from nettop.broker.requests import Netns
from nettop.errors import BrokerError
from nettop.kinds import TextKind

_REST_NS = 500_000_000  # between two turns: each snapshot is a process
_FIRST_REST_NS, _PARTS_REST_NS = 1_000_000_000, 5_000_000_000  # of parts: from the first to the longest pause
_ALL = ("",)


class TextSource:
    """The source of the stream "text": one snapshot a read, since each may take long. A failure is a Text with `error`.

    `interval` seconds between turns; None: only when poked; `once`: one turn, then the End. With `share` the tools
    take at most that part of a core. `part`: GetText.part.
    """

    def __init__(
        self,
        stream: Stream,
        broker: Broker,
        netns: Netns,
        kinds: Sequence[TextKind],
        seq: Counter64,
        interval: float | None = None,
        once: bool = False,
        share: float | None = None,
        part: str = "",
    ) -> None:
        self._stream, self._broker, self._netns, self._seq = stream, broker, netns, seq
        self._kinds, self._once = tuple(kinds), once
        self._interval_ns = None if interval is None else int(interval * 1e9)
        self._share, self._part = share, part
        self._todo: deque[tuple[TextKind, str]] = deque()
        self._announced = False
        self._poked, self._wanted = True, tuple[str, ...]()
        # Of the last turn that read all (True), and of the last one that read parts: ns of processors, and its end.
        self._took_ns, self._ended_ns = {True: 0, False: 0}, {True: 0, False: 0}
        self._reads_all = True  # the current turn
        self._parts_rest_ns = _FIRST_REST_NS

    def fileno(self) -> None:
        """Return None: there is no descriptor to wait on."""
        return None

    def due_ns(self) -> int | None:
        """Return 0 during a turn, else the time of the next one; without an interval None until poked."""
        if self._todo or not self._announced:
            return 0
        return self._next_turn()[0]

    def _next_turn(self) -> tuple[int | None, tuple[str, ...]]:
        """Return the time of the next turn, and the parts that it reads."""
        wanted, turns = self._wanted, list[tuple[int, tuple[str, ...]]]()
        if wanted and wanted != _ALL:
            turns.append((self._ended_ns[False] + self._rest_ns(all_of_it=False), wanted))
        if self._poked or wanted == _ALL:
            turns.append((self._ended_ns[True] + self._rest_ns(all_of_it=True), _ALL))
        elif self._interval_ns is not None:
            turns.append((self._ended_ns[True] + max(self._interval_ns, self._rest_ns(all_of_it=True)), _ALL))
        return min(turns, default=(None, ()))

    def _rest_ns(self, all_of_it: bool) -> int:
        share_ns = int(self._took_ns[all_of_it] / self._share) if self._share else 0
        return max(_REST_NS if all_of_it else self._parts_rest_ns, share_ns)

    def _grow_rest(self) -> None:
        """Double the pause between turns of parts that follow one another, or begin with a short one again."""
        follows = time.monotonic_ns() - self._ended_ns[False] < 2 * self._parts_rest_ns
        self._parts_rest_ns = min(2 * self._parts_rest_ns, _PARTS_REST_NS) if follows else _FIRST_REST_NS

    def poke(self) -> None:
        """Read all texts again. Thread-safe; the thread that waits on due_ns() must be woken after it."""
        self._poked = True

    def want(self, parts: tuple[str, ...]) -> bool:
        """Read these parts (GetText.part) in the next turn, and no others wanted before. Thread-safe as poke().

        Return whether others are wanted than before.
        """
        before, self._wanted = self._wanted, parts
        return before != parts

    def pace(self, interval: float | None) -> None:
        """Set the seconds between turns. Thread-safe, like poke()."""
        self._interval_ns = None if interval is None else int(interval * 1e9)

    def read(self, max_bytes: int) -> list[Item]:
        """Return the next snapshot of the turn. Blocks while its tool runs (the broker ends it after 15 s)."""
        items: list[Item] = [] if self._announced else [StreamAdded(self._stream, self._seq.next())]
        self._announced = True
        due, parts = self._next_turn()
        if not self._todo and due is not None and time.monotonic_ns() >= due:
            self._reads_all, self._wanted = parts == _ALL, ()
            if not self._reads_all:
                self._grow_rest()
            self._poked = self._poked and not self._reads_all
            self._took_ns[self._reads_all] = 0
            self._todo.extend((kind, part or self._part) for part in parts for kind in self._kinds)
        if not self._todo:
            return items
        items += self._text(*self._todo.popleft())
        if not self._todo:
            self._ended_ns[self._reads_all] = time.monotonic_ns()
            items += [End(self._stream.id, self._seq.next())] if self._once else []
        return items

    def losses(self) -> list[Item]:
        """Return nothing: texts are not lost."""
        return []

    def close(self) -> None:
        """Do nothing: no descriptor is open."""

    def _text(self, what: TextKind, part: str) -> list[Item]:
        """Return the text, or the reason that there is none; nothing if nettop ends, which says nothing of the text."""
        began, asked_ns = time.thread_time_ns(), time.monotonic_ns()
        body, error, requested_ns = b"", "", time.time_ns()  # changes while the tool runs may be missing in its output
        try:
            body, cost_ns = self._broker.text_cost(self._netns, what, part)
        except BrokerError as failed:
            if failed.message == ENDED:
                return []
            error, cost_ns = str(failed), time.monotonic_ns() - asked_ns  # perhaps it was ended
        self._took_ns[self._reads_all] += cost_ns + time.thread_time_ns() - began
        return [Text(self._stream.id, self._seq.next(), requested_ns, what, body, error)]
