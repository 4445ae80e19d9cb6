"""The text of TextKind.PROCESSES: the sockets of the current namespace with their processes, as JSON lines."""

from __future__ import annotations

import json

from nettop.broker.children import write_out
from nettop.broker.processes.holders import Holder, holders
from nettop.broker.processes.socket_diag import InetSocket, sockets
from nettop.errors import BrokerError

MAX_TEXT = 64 << 20  # bytes: some 350,000 sockets
_LINES_PER_WRITE = 2000


def list_processes() -> None:
    """Write the text to stdout. Raises OSError, and BrokerError where there are too many sockets."""
    found = sockets()
    holder_of = holders({entry.inode for entry in found if entry.inode})
    written = 0
    for first in range(0, len(found), _LINES_PER_WRITE):
        part = "".join(
            [line(entry, holder_of.get(entry.inode)) for entry in found[first : first + _LINES_PER_WRITE]]
        ).encode()
        written += len(part)
        if written > MAX_TEXT:
            raise BrokerError(f"{len(found)} sockets are too many to list with their processes")
        write_out(part)


def line(entry: InetSocket, holder: Holder | None) -> str:
    """Return one socket as a JSON object and a line end: ASCII, for any process name."""
    pid, name, sharers = (holder.pid, json.dumps(holder.name), holder.sharers) if holder else ("null", '""', 0)
    return (
        f'{{"family":{entry.family},"proto":{entry.proto},"local":"{entry.local}","lport":{entry.lport},'
        f'"remote":"{entry.remote}","rport":{entry.rport},"state":{entry.state},"uid":{entry.uid},"inode":{entry.inode},'
        f'"pid":{pid},"name":{name},"sharers":{sharers}}}\n'
    )
