"""Asks the system for names of hosts and services, on threads of its own: an answer may take long, or never come.

Only what is put is asked, and nothing before that: a question to a name server tells others what is looked at.
"""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
from collections import deque

from nettop.linux.inet import IPPROTO_DCCP, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP

THREADS = 4  # questions under way at a time: a silent name server holds each for some ten seconds
WAITING = 256  # questions that wait; what comes beyond is not asked, and may be put again

Question = tuple[str] | tuple[int, int]  # an address, or protocol and port


class NameResolver:
    """Threads begin with the first question, and are daemons: nobody waits for one that waits for a name server."""

    def __init__(self, threads: int = THREADS) -> None:
        self._most = threads
        self._questions: queue.Queue[Question | None] = queue.Queue(WAITING)
        self._answers: deque[tuple[Question, str | None]] = deque()
        self._threads: list[threading.Thread] = []

    def ask(self, question: Question) -> bool:
        """Put a question; False when too many wait. Returns at once. From one thread."""
        try:
            self._questions.put_nowait(question)
        except queue.Full:
            return False
        if len(self._threads) < self._most:
            thread = threading.Thread(target=self._run, name="nettop-names", daemon=True)
            self._threads.append(thread)
            thread.start()
        return True

    def answers(self) -> list[tuple[Question, str | None]]:
        """What was answered since the last call, as it came: any text. None: there is no name."""
        found = []
        while self._answers:
            found.append(self._answers.popleft())
        return found

    def forget(self) -> None:
        """Ask nothing of what still waits."""
        while True:
            try:
                self._questions.get_nowait()
            except queue.Empty:
                return

    def close(self) -> None:
        """Threads end with the question under way."""
        self.forget()
        for _ in self._threads:
            self._questions.put_nowait(None)
        self._threads = []

    def _run(self) -> None:
        while (question := self._questions.get()) is not None:
            self._answers.append((question, lookup(question)))


def lookup(question: Question) -> str | None:
    """What the system says of an address (gethostbyaddr), or of protocol and port (getservbyport); None: nothing.

    Not getnameinfo: before Python 3.13 the whole program stands still while it waits for a name server.
    """
    try:
        if len(question) == 1:
            address = str(ipaddress.ip_address(question[0]))  # a name would be asked for its address
            return socket.gethostbyaddr(address)[0]
        proto, port = question
        name = _PROTOCOLS.get(proto)
        with _one_service:
            return None if name is None else socket.getservbyport(port, name)
    except (OSError, ValueError, OverflowError):  # ValueError: a name that is no UTF-8
        return None


_one_service = threading.Lock()  # getservbyport(3) answers every thread in the same buffer
_PROTOCOLS = {
    IPPROTO_TCP: "tcp",
    IPPROTO_UDP: "udp",
    IPPROTO_SCTP: "sctp",
    IPPROTO_DCCP: "dccp",
}
