"""The ssh session that nettop itself is used through: left out of captures, since showing a packet would make more."""

from __future__ import annotations

import ipaddress
import os


def own_session(pid: int | None = None) -> tuple[str, int, str, int] | None:
    """SSH_CONNECTION (client, port, server, port) of this process or, since sudo drops it, of one it descends from."""
    pid = os.getpid() if pid is None else pid
    for _ in range(32):
        found = _connection(_environ(pid))
        if found is not None:
            return found
        pid = _parent(pid)
        if pid <= 1:
            break
    return None


def leaving_out(expression: str, session: tuple[str, int, str, int] | None) -> str:
    """The capture filter without that session (libpcap's words)."""
    if session is None:
        return expression
    client, client_port, server, server_port = session
    mine = f"tcp and host {client} and port {client_port} and host {server} and port {server_port}"
    return f"({expression}) and not ({mine})" if expression else f"not ({mine})"


def _connection(environ: bytes) -> tuple[str, int, str, int] | None:
    for entry in environ.split(b"\0"):
        name, _, value = entry.partition(b"=")
        words = value.decode(errors="replace").split()
        if name == b"SSH_CONNECTION" and len(words) == 4 and words[1].isdecimal() and words[3].isdecimal():
            try:
                client, server = (str(ipaddress.ip_address(words[i].partition("%")[0])) for i in (0, 2))
            except ValueError:
                return None
            return client, int(words[1]), server, int(words[3])
    return None


def _environ(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/environ", "rb") as entries:
            return entries.read(1 << 20)
    except OSError:
        return b""


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return int(stat.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0
