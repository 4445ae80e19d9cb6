"""The text of TextKind.PROCESSES: the sockets of the current namespace with their processes, as JSON lines."""

from __future__ import annotations

import json

from nettop.broker.children import write_out
from nettop.broker.socket_diag import Socket, sockets
from nettop.broker.socket_holders import Holder, holders
from nettop.errors import BrokerError

MAX_TEXT = 64 << 20  # bytes: some 350,000 sockets
_LINES = 2000  # a write


def list_processes() -> None:
    """Write the text to stdout. Raises OSError, and BrokerError where there are too many sockets."""
    found = sockets()
    held = holders({one.inode for one in found if one.inode})
    written = 0
    for first in range(0, len(found), _LINES):
        part = "".join([line(one, held.get(one.inode)) for one in found[first : first + _LINES]]).encode()
        written += len(part)
        if written > MAX_TEXT:
            raise BrokerError(f"{len(found)} sockets are too many to list with their processes")
        write_out(part)


def line(of: Socket, by: Holder | None) -> str:
    """One socket as a JSON object and a line end: ASCII, whatever the process calls itself."""
    pid, name, sharers = (by.pid, json.dumps(by.name), by.sharers) if by else ("null", '""', 0)
    return (
        f'{{"family":{of.family},"proto":{of.proto},"local":"{of.local}","lport":{of.lport},'
        f'"remote":"{of.remote}","rport":{of.rport},"state":{of.state},"uid":{of.uid},"inode":{of.inode},'
        f'"pid":{pid},"name":{name},"sharers":{sharers}}}\n'
    )
