"""A source of text snapshots: the output of tools that the broker runs, at the start and when poked."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from nettop.batch import Counter64, End, Item, Stream, StreamAdded, Text
from nettop.broker.client import Broker
from nettop.broker.requests import Netns
from nettop.errors import BrokerError
from nettop.kinds import TextKind

_REST_NS = 500_000_000  # between two turns: each snapshot is a process


class TextSource:
    """The source of the stream "text": one snapshot a read, since each may take long. A failure is a Text with `error`.

    `interval` seconds between turns; None: only when poked; `once`: one turn, then the End. With `share` the tools
    take at most that part of a core.
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
    ) -> None:
        self._stream, self._broker, self._netns, self._seq = stream, broker, netns, seq
        self._kinds, self._once = tuple(kinds), once
        self._interval_ns = None if interval is None else int(interval * 1e9)
        self._share = share
        self._took_ns = 0  # of processors, in the current turn or the last one
        self._todo: deque[TextKind] = deque()
        self._announced = False
        self._poked = True
        self._ended_ns = time.monotonic_ns() - _REST_NS

    def fileno(self) -> None:
        """Return None: there is no descriptor to wait on."""
        return None

    def due_ns(self) -> int | None:
        """Return 0 during a turn, else the time of the next one; without an interval None until poked."""
        if self._todo or not self._announced:
            return 0
        rest_ns = max(_REST_NS, int(self._took_ns / self._share) if self._share else 0)
        if self._poked:
            return self._ended_ns + rest_ns
        return None if self._interval_ns is None else self._ended_ns + max(self._interval_ns, rest_ns)

    def poke(self) -> None:
        """Read all texts again. Thread-safe; the thread that waits on due_ns() must be woken after it."""
        self._poked = True

    def pace(self, interval: float | None) -> None:
        """Set the seconds between turns. Thread-safe, like poke()."""
        self._interval_ns = None if interval is None else int(interval * 1e9)

    def read(self, max_bytes: int) -> list[Item]:
        """Return the next snapshot of the turn. Blocks while its tool runs (the broker ends it after 15 s)."""
        items: list[Item] = [] if self._announced else [StreamAdded(self._stream, self._seq.next())]
        self._announced = True
        due = self.due_ns()
        if not self._todo and due is not None and time.monotonic_ns() >= due:
            self._poked = False
            self._took_ns = 0
            self._todo.extend(self._kinds)
        if not self._todo:
            return items
        items.append(self._text(self._todo.popleft()))
        if not self._todo:
            self._ended_ns = time.monotonic_ns()
            items += [End(self._stream.id, self._seq.next())] if self._once else []
        return items

    def losses(self) -> list[Item]:
        """Return nothing: texts are not lost."""
        return []

    def close(self) -> None:
        """Do nothing: no descriptor is open."""

    def _text(self, what: TextKind) -> Text:
        began, asked_ns = time.thread_time_ns(), time.monotonic_ns()
        body, error, requested_ns = b"", "", time.time_ns()  # changes while the tool runs may be missing in its output
        try:
            body, cost_ns = self._broker.text_cost(self._netns, what)
        except BrokerError as failed:
            error, cost_ns = str(failed), time.monotonic_ns() - asked_ns  # perhaps it was ended
        self._took_ns += cost_ns + time.thread_time_ns() - began
        return Text(self._stream.id, self._seq.next(), requested_ns, what, body, error)
