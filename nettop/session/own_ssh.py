"""The ssh session of nettop's user: excluded from captures, since each packet shown would cause more."""

from __future__ import annotations

import ipaddress
import os

_ANCESTORS = 32


Connection = tuple[str, int, str, int]  # client, port, server, port


def own_session(pid: int | None = None) -> Connection | None:
    """Return SSH_CONNECTION of this process or, since sudo drops it, of an ancestor; None if there is none.

    To be called before privileges are dropped: afterwards other users' processes, and our own, cannot be read.
    """
    pid = os.getpid() if pid is None else pid
    for _ in range(_ANCESTORS):
        found = _connection(_proc(pid, "environ"))
        after_name = _proc(pid, "stat").rpartition(b")")[2].split()
        pid = int(after_name[1]) if after_name else 0  # of the parent
        if found is not None or pid <= 1:
            return found
    return None


def leaving_out(expression: str, session: Connection | None) -> str:
    """Return the capture filter (libpcap syntax) that also excludes the session."""
    if session is None:
        return expression
    client, client_port, server, server_port = session
    mine = f"tcp and host {client} and port {client_port} and host {server} and port {server_port}"
    return f"({expression}) and not ({mine})" if expression else f"not ({mine})"


def _connection(environ: bytes) -> Connection | None:
    for entry in environ.split(b"\0"):
        name, _, value = entry.partition(b"=")
        words = value.decode(errors="replace").split()
        if name == b"SSH_CONNECTION" and len(words) == 4 and words[1].isdecimal() and words[3].isdecimal():
            try:
                client, server = (_address(words[i]) for i in (0, 2))
            except ValueError:
                return None
            return client, int(words[1]), server, int(words[3])
    return None


def _address(text: str) -> str:
    """Return the address as in packets: without a zone, and not mapped into IPv6. ValueError: it is no address."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _proc(pid: int, name: str) -> bytes:
    """Return the first MiB of a file of a process; b"" if it cannot be read."""
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read(1 << 20)
    except OSError:
        return b""
