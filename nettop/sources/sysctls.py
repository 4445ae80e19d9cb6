"""Reads the sysctls of one namespace that are needed often: the broker opens each once."""

from __future__ import annotations

import os

from nettop.broker.client import Broker
from nettop.broker.requests import Netns
from nettop.errors import BrokerError

_MAX_SIZE = 64  # bytes: numbers only


class SysctlReader:
    """Returns current values, each for one pread. Not thread-safe."""

    def __init__(self, broker: Broker, netns: Netns) -> None:
        self._broker, self._netns = broker, netns
        self._open: dict[str, int] = {}  # descriptors, by name

    def value(self, name: str) -> str:
        """Return the current value; "" if there is none (no conntrack, or the namespace is gone)."""
        try:
            if name not in self._open:
                self._open[name] = self._broker.open_sysctl(self._netns, name)
            return os.pread(self._open[name], _MAX_SIZE, 0).decode("ascii").strip()
        except (BrokerError, OSError):
            return ""

    def close(self) -> None:
        """Close the descriptors."""
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()
