"""`python -I -m nettop.broker`: nettop starts it with one end of a socketpair as stdin. Not for interactive use."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
from contextlib import suppress

from nettop.broker import privileges
from nettop.broker.server import Server, hello
from nettop.errors import EXIT_OK, EXIT_USAGE

# The terminal's signals are meant for the app; the broker ends when the app's socket closes.
_NOT_OURS = (
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGHUP,
    signal.SIGPIPE,
)


def main(arguments: list[str]) -> int:
    """Serve the app on stdin until it closes; returns the exit code."""
    if set(arguments) - {"--read-only"}:
        return _usage()
    try:
        sock = socket.socket(fileno=fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3))  # not in place of a closed 1 or 2
    except OSError:
        return _usage()
    if (sock.family, sock.type) != (socket.AF_UNIX, socket.SOCK_SEQPACKET):
        return _usage()
    _detach_from_terminal()
    capabilities = privileges.confine_broker()
    read_only = "--read-only" in arguments
    server = Server(sock, read_only=read_only)
    os.dup2(1, 2)  # from here on, the screen is the app's
    server.serve(hello(read_only, capabilities))
    return EXIT_OK


def _detach_from_terminal() -> None:
    for number in _NOT_OURS:
        signal.signal(number, signal.SIG_IGN)
    with suppress(PermissionError):  # already the leader of a session or group
        os.setsid()
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.dup2(null, 1)


def _usage() -> int:
    print("nettop.broker is started by nettop, with a socket as its stdin", file=sys.stderr)
    return EXIT_USAGE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
