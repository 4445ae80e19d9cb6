"""Messages between app and broker: one JSON object a SOCK_SEQPACKET packet, with its descriptors (SCM_RIGHTS).

An object too long for one packet travels as a sealed memfd. Lengths are limited on both sides.
"""

from __future__ import annotations

import array
import fcntl
import json
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from nettop.errors import BrokerError
from nettop.linux.process import F_ADD_SEALS, F_SEALS_ALL

MAX_PACKET = 128 << 10  # bytes of one packet
MAX_LONG = 16 << 20  # bytes of one object in a memfd
MAX_FDS = 4

Message = dict[str, Any]


class WireError(BrokerError):
    """A packet that is no message: too long, cut, or not a JSON object. The connection itself stays usable."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected ends: one for the app, one for the broker (which gets it as its stdin)."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(
    sock: socket.socket, message: Mapping[str, Any], fds: Sequence[int] = (), *, long_allowed: bool = True
) -> None:
    """Send one message with descriptors (they stay open here). Raises OSError when the other end is gone.

    With long_allowed False (to the broker, which accepts none) a message longer than a packet raises WireError.
    """
    payload = json.dumps(message, separators=(",", ":")).encode()
    if len(payload) <= MAX_PACKET:
        if fds:
            socket.send_fds(sock, [payload], list(fds))
        else:
            sock.send(payload)  # the app may not call sendmsg
        return
    if not long_allowed:
        raise WireError(f"a request of more than {MAX_PACKET} bytes", "give a shorter filter, or fewer rows")
    body = sealed_memfd("nettop-message", payload)
    try:
        socket.send_fds(sock, [b'{"long":true}'], [body, *fds])
    finally:
        os.close(body)


def receive(sock: socket.socket, *, allow_fds: bool = True) -> tuple[Message, list[int]] | None:
    """Return one message and its descriptors, or None at the end. Raises WireError; no descriptor is left open then.

    With allow_fds False (the broker's side) descriptors and long messages are refused.
    """
    ancillary_size = socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize)
    payload, ancillary, flags, _ = sock.recvmsg(MAX_PACKET, ancillary_size, socket.MSG_CMSG_CLOEXEC)
    fds = _descriptors(ancillary)
    try:
        if not payload and not flags & socket.MSG_TRUNC:
            if fds:
                raise WireError("an empty message with descriptors")
            return None
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise WireError(f"a message of more than {MAX_PACKET} bytes or {MAX_FDS} descriptors")
        if fds and not allow_fds:
            raise WireError("descriptors are not taken here")
        message = _object(payload)
        if message.get("long") is True and allow_fds and fds:
            message = _object(read_memfd(fds.pop(0), MAX_LONG))
        return message, fds
    except BrokerError:
        for fd in fds:
            os.close(fd)
        raise


def sealed_memfd(name: str, body: bytes) -> int:
    """Return a memfd with `body` that nobody can change any more; the caller closes it."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(body)
    while view:
        view = view[os.write(fd, view) :]
    seal(fd)
    return fd


def seal(fd: int) -> None:
    """Make a memfd immutable; raises OSError while someone maps it for writing."""
    fcntl.fcntl(fd, F_ADD_SEALS, F_SEALS_ALL)


def read_memfd(fd: int, limit: int) -> bytes:
    """Return the whole content of a memfd, which is closed. Raises WireError above `limit` bytes."""
    try:
        size = os.fstat(fd).st_size
        if size > limit:
            raise WireError(f"an answer of {size} bytes (limit {limit})")
        return os.pread(fd, size, 0)
    finally:
        os.close(fd)


def _descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    fds = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return list(fds)


def _object(payload: bytes) -> Message:
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise WireError("a message that is not JSON") from error
    if not isinstance(message, dict):
        raise WireError("a message that is not a JSON object")
    return message


def peer(sock: socket.socket) -> int:
    """Return the process that made the socketpair, which is the app (unix(7), SO_PEERCRED); 0: we cannot see it."""
    pid: int = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    return pid
