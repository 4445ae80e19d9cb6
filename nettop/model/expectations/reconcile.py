"""A few values that events and dumps both tell of, reconciled as flows are: a bounded dict by key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=tuple[Any, ...])
V = TypeVar("V")


@dataclass(slots=True)
class _Dump(Generic[K]):
    """What was told of since an open dump began, by it or by events, and what events said is gone."""

    told: set[K] = field(default_factory=set)
    gone: set[K] = field(default_factory=set)


class Kept(Generic[K, V]):
    """Up to `most` values; keys begin with a namespace's code.

    A dump neither revives what events said is gone, nor takes away what they told of since it began. One during which
    more than `most` went is not trusted.
    """

    def __init__(self, most: int) -> None:
        self.known: dict[K, V] = {}
        self.left_out = 0
        self._most = most
        self._dumps: dict[int, _Dump[K]] = {}

    def put(self, key: K, value: V, dumped: bool) -> None:
        """An event, or a row of a dump, says that it is there."""
        dump = self._dumps.get(key[0])
        if dumped and dump is not None and (key in dump.gone or len(dump.gone) >= self._most):
            return
        if key not in self.known and len(self.known) >= self._most:
            self.left_out += 1
            return
        self.known[key] = value
        if dump is not None:
            dump.told.add(key)

    def remove(self, key: K) -> None:
        """An event says that it is gone."""
        self.known.pop(key, None)
        dump = self._dumps.get(key[0])
        if dump is not None:
            dump.told.discard(key)
            if len(dump.gone) < self._most:
                dump.gone.add(key)

    def mark(self, netns: int, begin: bool, complete: bool) -> bool:
        """A dump of this namespace begins (one that was open is forgotten), or ends; whether that took anything."""
        dump = self._dumps.pop(netns, None)
        if begin:
            self._dumps[netns] = _Dump()
        elif complete and dump is not None and len(dump.gone) < self._most:
            return self._keep(netns, dump.told)
        return False

    def forget(self, netns: int) -> None:
        """The namespace is gone."""
        self._dumps.pop(netns, None)
        self._keep(netns, set())

    def _keep(self, netns: int, told: set[K]) -> bool:
        gone = [key for key in self.known if key[0] == netns and key not in told]
        for key in gone:
            del self.known[key]
        return bool(gone)
