"""Names of hosts and services from the system's resolver, on threads of its own: an answer may take long or never come.

Nothing is resolved before the first query: a query to a name server reveals to others what is being looked at.
"""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
from collections import deque
from contextlib import suppress

from nettop.linux.inet import IPPROTO_DCCP, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP

MAX_THREADS = 4  # queries at a time: a name server that does not answer holds each for some ten seconds
MAX_QUEUED = 256  # queries above this number are refused and may be sent again

Query = tuple[str] | tuple[int, int]  # an address, or protocol and port


class NameResolver:
    """Resolves on daemon threads, started by the first queries: the program's exit waits for no name server."""

    def __init__(self, threads: int = MAX_THREADS) -> None:
        self._max_threads = threads
        self._queries: queue.Queue[Query | None] = queue.Queue(MAX_QUEUED)
        self._answers: deque[tuple[Query, str | None]] = deque()
        self._threads: list[threading.Thread] = []

    def ask(self, query: Query) -> bool:
        """Queue a query and return at once; False if too many are queued. To be called from one thread."""
        try:
            self._queries.put_nowait(query)
        except queue.Full:
            return False
        if len(self._threads) < self._max_threads:
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
            self._answers.append((query, lookup(query)))


def lookup(query: Query) -> str | None:
    """Return the name of an address (gethostbyaddr) or of a protocol and port (getservbyport); None: it has none.

    Not getnameinfo: before Python 3.13 it blocks the whole program while it waits for a name server.
    """
    try:
        if len(query) == 1:
            address = str(ipaddress.ip_address(query[0]))  # a host name would be resolved to its address
            return socket.gethostbyaddr(address)[0]
        proto, port = query
        name = _PROTOCOLS.get(proto)
        with _service_lock:
            return None if name is None else socket.getservbyport(port, name)
    except (OSError, ValueError, OverflowError):  # ValueError: the name is not UTF-8
        return None


_service_lock = threading.Lock()  # getservbyport(3) uses one buffer for all threads
_PROTOCOLS = {
    IPPROTO_TCP: "tcp",
    IPPROTO_UDP: "udp",
    IPPROTO_SCTP: "sctp",
    IPPROTO_DCCP: "dccp",
}
