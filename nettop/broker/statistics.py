"""The text of TextKind.NET_STATISTICS: files of /proc/net, in the namespace the caller has entered."""

from __future__ import annotations

from contextlib import suppress

_ROOT = "/proc/thread-self/net"  # /proc/net would be the process's, not the thread's
# softnet_stat is the whole host's in every namespace.
_FILES = ("snmp", "snmp6", "netstat", "softnet_stat", "netfilter/nfnetlink_queue", "netfilter/nfnetlink_log")


def listing() -> bytes:
    """Return one block for each file: "== /proc/net/NAME" on a line, then its content. A missing file has no block."""
    return b"".join(map(_block, _FILES))


def _block(name: str) -> bytes:
    with suppress(OSError), open(f"{_ROOT}/{name}", "rb") as file:
        body = file.read()
        end = b"" if body.endswith(b"\n") or not body else b"\n"
        return b"== /proc/net/" + name.encode() + b"\n" + body + end
    return b""
