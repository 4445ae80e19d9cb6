"""Names of hosts and services, resolved in the background: off by default, never waited for, never trusted.

The owner of an address range chooses its names: they are sanitised and cut, and a name that looks like an address is
refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Protocol

from nettop.text.sanitize import clean

MAX_NAMES = 4096
MAX_HOST, MAX_SERVICE = 48, 16  # characters
TTL_NS = 600_000_000_000
NEGATIVE_TTL_NS = 60_000_000_000  # of "no name" and "no answer"
RETRY_NS = 30_000_000_000  # a query without an answer may be sent again after this time

Query = tuple[str] | tuple[int, int]  # an address, or protocol and port


class Resolver(Protocol):
    """Asks the broker on threads of its own (sources.names)."""

    def ask(self, query: Query) -> bool:
        """Queue a query; False if too many are queued."""

    def answers(self) -> Sequence[tuple[Query, str | None]]:
        """Return the answers since the last call; None: no name."""

    def forget(self) -> None:
        """Drop every query that waits."""

    def close(self) -> None:
        """End the threads."""


class Names:
    """A cache of resolved names. host() and service() are called on the model thread, for rows on the screen.

    `make` makes the resolver when names are first switched on. `clock` returns monotonic ns.
    """

    def __init__(self, make: Callable[[], Resolver], clock: Callable[[], int]) -> None:
        self.version = 0  # grows when a name arrives, and when names are switched on or off
        self.on = False
        self._make, self._clock = make, clock
        self._resolver: Resolver | None = None
        self._names: dict[Query, tuple[str | None, int]] = {}  # and until when it is valid
        self._sent: dict[Query, int] = {}

    def switch(self, on: bool) -> None:
        """Switch names on or off. While they are off nothing is resolved and no name is returned."""
        if on == self.on:
            return
        self.on = on
        self.version += 1
        if on and self._resolver is None:
            self._resolver = self._make()
        if not on and self._resolver is not None:
            self._resolver.forget()
            self._sent.clear()

    def host(self, address: str) -> str | None:
        """Return the name of an address; None while it is unknown or names are off."""
        return self._known((address,)) if self.on else None

    def service(self, proto: int, port: int) -> str | None:
        """Return the name of a service; None while it is unknown or names are off."""
        return self._known((proto, port)) if self.on else None

    def collect(self) -> None:
        """Add the answers that have arrived. To be called a few times a second."""
        if self._resolver is None:
            return
        now = self._clock()
        for query, answer in self._resolver.answers():
            self._sent.pop(query, None)
            name = _checked(query, answer)
            before = self._names.pop(query, (None, 0))[0]  # inserted again below, as the newest
            self._names[query] = name, now + (NEGATIVE_TTL_NS if name is None else TTL_NS)
            if len(self._names) > MAX_NAMES:
                del self._names[next(iter(self._names))]
            self.version += name != before

    @property
    def awaited(self) -> bool:
        """True while a query has no answer."""
        return bool(self._sent)

    def close(self) -> None:
        """End the resolver's threads."""
        self.on = False
        if self._resolver is not None:
            self._resolver.close()

    def _known(self, query: Query) -> str | None:
        name, until = self._names.get(query, (None, 0))
        now = self._clock()
        if now >= until:
            self._ask(query, now)
        return name

    def _ask(self, query: Query, now: int) -> None:
        if now - self._sent.get(query, -RETRY_NS) < RETRY_NS or self._resolver is None:
            return
        if len(self._sent) > MAX_NAMES:  # the resolver is stuck
            self._sent.clear()
        if self._resolver.ask(query):
            self._sent[query] = now


def _checked(query: Query, answer: str | None) -> str | None:
    if not answer:
        return None
    limit = MAX_HOST if len(query) == 1 else MAX_SERVICE
    name = clean(answer[: 4 * limit].rstrip("."))
    if not name or _is_address(name):
        return None
    return name if len(name) <= limit else name[: limit - 1] + "…"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True
