"""The broker as a process: nettop starts it with one end of a socketpair as stdin. Not for interactive use."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import NoReturn

from nettop.broker import children, installation, options, privileges, wire
from nettop.broker.children import Body
from nettop.broker.confinement.app import confine_services
from nettop.broker.confinement.drop import drop_app
from nettop.broker.failures import error_fields
from nettop.broker.identity import NOBODY, Account, invoker, is_host_root
from nettop.broker.requests import OpenOutput, ResolveName
from nettop.broker.server import Server
from nettop.broker.tracing.drops import open_symbols
from nettop.errors import EXIT_OK, EXIT_USAGE, NotPermitted, UsageError

# The terminal's signals are meant for the app; the broker ends when the app's socket closes.
_NOT_OURS = (
    signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGHUP, signal.SIGPIPE,
)  # fmt: skip


def main(arguments: list[str]) -> int:
    """Serve the app on stdin until it ends; returns the exit code."""
    try:
        allowed = options.parse(arguments)
        sock = socket.socket(fileno=fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3))  # not in place of a closed 1 or 2
    except (OSError, UsageError):
        return _usage()
    if (sock.family, sock.type) != (socket.AF_UNIX, socket.SOCK_SEQPACKET):
        return _usage()
    if error := _foreign_files(allowed):
        wire.send(sock, {"refused": error_fields(error)})
        return error.exit_code
    detach_from_terminal()
    with suppress(OSError), open("/proc/self/comm", "w", encoding="ascii") as name:
        name.write("nettop-broker")  # the kernel names it as the author of changes
    symbols = open_symbols()
    capabilities = privileges.confine_broker()
    server = Server(sock, allowed, symbols=symbols)
    os.dup2(1, 2)  # from here on, the screen is the app's
    server.serve(hello(allowed.read_only, capabilities))
    return EXIT_OK


def _foreign_files(allowed: options.Options) -> NotPermitted | None:
    """Return the error of a broker that must not run as root, since others than root may change its files."""
    if allowed.development or not is_host_root():
        return None
    return installation.refusal()


def serve_files(sock: socket.socket, allowed: options.Options) -> NoReturn:
    """Serve an app that shows a file, in a fork of it: create its outputs, resolve names, and nothing else."""
    try:
        account = invoker()
        drop_app(account if account.uid else Account(NOBODY, NOBODY), preload=(__name__,))
        detach_from_terminal()
        confine_services()
        os.dup2(1, 2)
        children.close_all_but(sock.fileno())  # a pipe that the app reads must end with the app
        server = Server(sock, allowed, (OpenOutput, ResolveName))
        server.serve(hello(allowed.read_only, frozenset()))
    finally:
        os._exit(EXIT_OK)


def detach_from_terminal() -> None:
    """Leave the terminal and the directory that nettop was started in. Standard error stays."""
    for number in _NOT_OURS:
        signal.signal(number, signal.SIG_IGN)
    with suppress(PermissionError):  # already the leader of a session or group
        os.setsid()
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.chdir("/")


def hello(read_only: bool, capabilities: frozenset[int]) -> Body:
    """Return the first message of the broker: its identity and its rights."""
    return {"pid": os.getpid(), "read_only": read_only, "capabilities": sorted(capabilities)}


def _usage() -> int:
    print("nettop.broker is started by nettop, with a socket as its stdin", file=sys.stderr)
    return EXIT_USAGE
