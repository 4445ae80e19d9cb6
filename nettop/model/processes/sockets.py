"""The sockets of one namespace with their processes, as columns, read from a TextKind.PROCESSES text."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from nettop.batch import Array
from nettop.linux.inet import IPPROTO_TCP, TCP_LISTEN

MAX_SOCKETS = 400_000  # of a namespace
MAX_NAME = 32  # characters: /proc/PID/comm has 15 bytes at most
_CHUNK = 1024  # lines parsed in one go
_LOW = (1 << 64) - 1
_MAX_PID = 1 << 31
_LIMITS = {
    "proto": 255, "lport": 65_535, "rport": 65_535, "state": 255, "uid": 0xFFFF_FFFF, "inode": _LOW,
    "sharers": _MAX_PID,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Socket:
    """One socket. Addresses are integers in host order; `pid` is None without a process, or if we may not see it."""

    family: int
    proto: int
    local: int
    lport: int
    remote: int
    rport: int
    state: int
    uid: int
    pid: int | None
    name: str  # safe for a terminal
    sharers: int  # processes that hold it

    @property
    def connected(self) -> bool:
        """True if it has a peer."""
        return bool(self.rport or self.remote)

    @property
    def receives_nothing(self) -> bool:
        """True for a TCP socket that is neither connected nor listening."""
        return self.proto == IPPROTO_TCP and not self.connected and self.state != TCP_LISTEN


@dataclass(slots=True)
class SocketTable:
    """The sockets of a namespace, and their fields as columns."""

    sockets: list[Socket] = field(default_factory=list)
    lines: dict[bytes, Socket | None] = field(default_factory=dict)  # the parsed socket of each line; None: malformed

    def __len__(self) -> int:
        return len(self.sockets)

    def column(self, name: str, dtype: type[np.generic]) -> Array:
        """Return one numeric field of every socket; None becomes -1."""
        values = [getattr(socket, name) for socket in self.sockets]
        return np.array([-1 if value is None else value for value in values], dtype)

    def halves(self, name: str) -> tuple[Array, Array]:
        """Return the high and low 64 bits of `local` or `remote` of every socket, as uint64."""
        values = [getattr(socket, name) for socket in self.sockets]
        hi = np.array([value >> 64 for value in values], np.uint64)
        return hi, np.array([value & _LOW for value in values], np.uint64)


def read_sockets(body: bytes, before: SocketTable | None = None) -> SocketTable:
    """Return the sockets of a text. Malformed lines are left out, and those beyond MAX_SOCKETS.

    Lines that were in the text `before` are not parsed again: most sockets live longer than a few seconds.
    """
    table = SocketTable()
    known = before.lines if before is not None else {}
    lines = [line for line in body.splitlines() if line.strip()][:MAX_SOCKETS]
    new = [line for line in lines if line not in known]
    fresh = dict(zip(new, map(_socket, _objects(new)), strict=True))
    for line in lines:
        socket = table.lines[line] = known[line] if line in known else fresh[line]
        if socket is not None and not socket.receives_nothing:
            table.sockets.append(socket)
    return table


def _objects(lines: list[bytes]) -> Iterator[object]:
    """Yield the JSON value of each line, None if malformed. Many lines are parsed as one array, 3 times as fast."""
    for first in range(0, len(lines), _CHUNK):
        some = lines[first : first + _CHUNK]
        found = _parsed(b"[" + b",".join(some) + b"]")
        if isinstance(found, list) and len(found) == len(some):
            yield from found
        else:
            yield from map(_parsed, some)


def _parsed(text: bytes) -> object:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):  # bad UTF-8 and numbers of a million digits are ValueErrors
        return None
    return found


def _socket(found: object) -> Socket | None:
    """Return the socket of a parsed line; None if any field is malformed."""
    if not isinstance(found, dict):
        return None
    numbers: tuple[Any, ...] = tuple(map(found.get, _LIMITS))
    pid, name = found.get("pid"), found.get("name")
    if not all(map(_fits, numbers, _LIMITS.values())) or not (pid is None or _fits(pid, _MAX_PID)):
        return None
    local, remote = (
        _address(found.get("family"), found.get("local")),
        _address(found.get("family"), found.get("remote")),
    )
    if local is None or remote is None or not isinstance(name, str):
        return None
    proto, lport, rport, state, uid, _, sharers = numbers
    name = _name(name[: 2 * MAX_NAME])
    return Socket(found["family"], proto, local, lport, remote, rport, state, uid, pid, name, sharers)


def _fits(value: object, limit: int) -> bool:
    return type(value) is int and 0 <= value <= limit


def _address(family: object, text: object) -> int | None:
    if type(family) is not int or family not in (2, 10) or not isinstance(text, str) or len(text) > 64:
        return None
    return _number(family == 2, text)


@lru_cache(maxsize=65_536)
def _number(four: bool, text: str) -> int | None:
    try:
        return int(ipaddress.IPv4Address(text) if four else ipaddress.IPv6Address(text.partition("%")[0]))
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def _name(text: str) -> str:
    return text if len(text) <= MAX_NAME else text[: MAX_NAME - 1] + "…"
