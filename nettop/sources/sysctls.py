"""Sysctls of one namespace that are looked at often: opened once by the broker, read here."""

from __future__ import annotations

import os

from nettop.broker.client import Broker, Netns
from nettop.errors import BrokerError

_LONGEST = 64  # bytes: numbers only


class Sysctls:
    """Their values now, each for the price of one pread. Not thread-safe."""

    def __init__(self, broker: Broker, netns: Netns) -> None:
        self._broker, self._netns = broker, netns
        self._open: dict[str, int] = {}  # descriptors, by name

    def value(self, name: str) -> str:
        """What the sysctl says now; "" where there is none: no conntrack, or no namespace any more."""
        try:
            if name not in self._open:
                self._open[name] = self._broker.open_sysctl(self._netns, name)
            return os.pread(self._open[name], _LONGEST, 0).decode("ascii").strip()
        except (BrokerError, OSError):
            return ""

    def close(self) -> None:
        """Close the descriptors."""
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()
