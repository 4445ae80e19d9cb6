"""Names of hosts and services from the broker, on threads of its own: an answer may take long or never come.

Nothing is resolved before the first query: a query to a name server reveals to others what is being looked at.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from nettop.broker.requests import ResolveName

MAX_THREADS = 4  # queries at a time: a name server that does not answer holds each for some ten seconds
MAX_QUEUED = 256  # queries above this number are refused and may be sent again

Query = tuple[str] | tuple[int, int]  # an address, or protocol and port


class NameResolver:
    """Resolves on daemon threads, started by the first queries: the program's exit waits for no name server."""

    def __init__(self, resolve: Callable[[ResolveName], str | None]) -> None:
        """`resolve` looks up one name; None: there is none."""
        self._resolve = resolve
        self._queries: queue.Queue[Query | None] = queue.Queue(MAX_QUEUED)
        self._answers: deque[tuple[Query, str | None]] = deque()
        self._threads: list[threading.Thread] = []

    def ask(self, query: Query) -> bool:
        """Queue a query and return at once; False if too many are queued. To be called from one thread."""
        try:
            self._queries.put_nowait(query)
        except queue.Full:
            return False
        if len(self._threads) < MAX_THREADS:
            thread = threading.Thread(target=self._run, name="nettop-names", daemon=True)
            self._threads.append(thread)
            thread.start()
        return True

    def answers(self) -> list[tuple[Query, str | None]]:
        """Return the answers since the last call: any text, not sanitised. None: there is no name."""
        return [self._answers.popleft() for _ in range(len(self._answers))]

    def forget(self) -> None:
        """Drop the queued queries."""
        with suppress(queue.Empty):
            while True:
                self._queries.get_nowait()

    def close(self) -> None:
        """End each thread after its current query."""
        self.forget()
        for _ in self._threads:
            self._queries.put_nowait(None)
        self._threads = []

    def _run(self) -> None:
        while (query := self._queries.get()) is not None:
            request = ResolveName(query[0], 0, 0) if len(query) == 1 else ResolveName("", *query)
            self._answers.append((query, self._resolve(request)))
