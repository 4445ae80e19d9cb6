"""Names of hosts and services beside flows: off until asked for, never waited for, and never trusted.

Whoever owns an address range writes its names: they are cleaned and cut, and one that looks like an address is none.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Protocol

from nettop.text.sanitize import clean

MAX_NAMES = 4096
MAX_HOST, MAX_SERVICE = 48, 16  # characters
KEPT_NS = 600_000_000_000
KEPT_WITHOUT_NS = 60_000_000_000  # that there is no name, or no answer
PATIENCE_NS = 30_000_000_000  # a question without an answer for so long may be put again

Question = tuple[str] | tuple[int, int]  # an address, or protocol and port


class Resolver(Protocol):
    """Who asks the system (sources.names)."""

    def ask(self, question: Question) -> bool: ...

    def answers(self) -> Sequence[tuple[Question, str | None]]: ...

    def forget(self) -> None: ...

    def close(self) -> None: ...


class Names:
    """Names as far as they are known. host() and service() are asked for what is on the screen, on the model thread.

    `make` makes the resolver, when names are first wanted. `clock` gives ns that never go back.
    """

    def __init__(self, make: Callable[[], Resolver], clock: Callable[[], int]) -> None:
        self.version = 0  # grows when a name came, or names are switched
        self.on = False
        self._make, self._clock = make, clock
        self._resolver: Resolver | None = None
        self._names: dict[Question, tuple[str | None, int]] = {}  # and until when it is good
        self._asked: dict[Question, int] = {}

    def switch(self, on: bool) -> None:
        """Names are wanted, or not (any more): then nothing is asked, and what was known is not shown."""
        if on == self.on:
            return
        self.on = on
        self.version += 1
        if on and self._resolver is None:
            self._resolver = self._make()
        if not on and self._resolver is not None:
            self._resolver.forget()
            self._asked.clear()

    def host(self, address: str) -> str | None:
        """The name of an address, as far as it is known now and names are wanted."""
        return self._known((address,)) if self.on else None

    def service(self, proto: int, port: int) -> str | None:
        """The name of a service."""
        return self._known((proto, port)) if self.on else None

    def collect(self) -> None:
        """Take in the answers that came. To be called a few times a second."""
        if self._resolver is None:
            return
        now = self._clock()
        for question, said in self._resolver.answers():
            self._asked.pop(question, None)
            name = _cleaned(question, said)
            before = self._names.pop(question, (None, 0))[0]  # and back in as the newest
            self._names[question] = name, now + (KEPT_WITHOUT_NS if name is None else KEPT_NS)
            if len(self._names) > MAX_NAMES:
                del self._names[next(iter(self._names))]
            self.version += name != before

    def close(self) -> None:
        """Let the threads end."""
        self.on = False
        if self._resolver is not None:
            self._resolver.close()

    def _known(self, question: Question) -> str | None:
        name, until = self._names.get(question, (None, 0))
        now = self._clock()
        if now >= until:
            self._ask(question, now)
        return name

    def _ask(self, question: Question, now: int) -> None:
        if now - self._asked.get(question, -PATIENCE_NS) < PATIENCE_NS or self._resolver is None:
            return
        if len(self._asked) > MAX_NAMES:  # none of them was answered for long: the resolver is stuck
            self._asked.clear()
        if self._resolver.ask(question):
            self._asked[question] = now


def _cleaned(question: Question, said: str | None) -> str | None:
    if not said:
        return None
    limit = MAX_HOST if len(question) == 1 else MAX_SERVICE
    name = clean(said[: 4 * limit].rstrip("."))
    if not name or _is_address(name):
        return None
    return name if len(name) <= limit else name[: limit - 1] + "…"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True
