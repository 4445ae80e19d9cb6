"""The trace records of iptables-legacy: NFLOG group 0 of a namespace, which gets them while nf_log is switched to it.

The kernel does not undo the switch when its maker ends. A process of its own does: it holds both sysctls and one end of
a socket pair, and writes the values back when the other end closes, whoever was killed. It is started as a program of
another name and parent, so that what kills nettop's processes spares it; if it is killed alone, another one is started.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from contextlib import ExitStack, suppress

from nettop.broker import privileges
from nettop.broker.attributes import attribute, be32, u8
from nettop.broker.children import TOOL_ENVIRONMENT, close_all_but
from nettop.broker.netlink_changes import answers, netfilter_socket
from nettop.broker.reads import message
from nettop.broker.sockets import RECEIVE_BUFFER
from nettop.errors import BrokerError
from nettop.linux import nfnetlink
from nettop.linux.netlink import NLM_F_ACK, NLM_F_REQUEST

_GROUP = 0  # the kernel's trace records go there (net/netfilter/nfnetlink_log.c, default_loginfo)
_LOGGER = b"nfnetlink_log"
_SYSCTLS = ("/proc/sys/net/netfilter/nf_log/2", "/proc/sys/net/netfilter/nf_log/10")
_START_S = 3.0
_HEADERS = 128  # bytes of a packet that are copied
# argv: descriptor, value, descriptor, value. Standard input is the socket pair.
# A sysctl ignores what is not written at its begin.
_RESTORE = f"""import os, sys
try:
    os.write(0, b".")
    while os.read(0, 1): pass
except OSError: pass  # the other end was killed before it read
for number, value in zip(sys.argv[1::2], sys.argv[2::2]):
    if os.pread(int(number), 64, 0).strip() == {_LOGGER!r}: os.pwrite(int(number), value.encode(), 0)
"""


def bind(buffer: int) -> socket.socket:
    """Return a socket of this namespace that gets the packets of group 0, with a receive buffer of so many bytes.

    Raises OSError; BrokerError if another program gets them.
    """
    sock = netfilter_socket(RECEIVE_BUFFER, buffer)
    try:
        for part in (
            u8(nfnetlink.NFULA_CFG_CMD, nfnetlink.NFULNL_CFG_CMD_BIND),
            attribute(nfnetlink.NFULA_CFG_MODE, _HEADERS.to_bytes(4, "big") + bytes([nfnetlink.NFULNL_COPY_PACKET, 0])),
            be32(nfnetlink.NFULA_CFG_TIMEOUT, 1),  # hundredths of a second
            be32(nfnetlink.NFULA_CFG_QTHRESH, 1),  # records of a message: each goes out at once
        ):
            kind = nfnetlink.NFNL_SUBSYS_ULOG << 8 | nfnetlink.NFULNL_MSG_CONFIG
            header = nfnetlink.NFGENMSG.pack(0, 0, socket.htons(_GROUP))
            sock.sendto(message(kind, NLM_F_REQUEST | NLM_F_ACK, 1, header + part), (0, 0))
            refused = next((number for number in answers(sock) if number), 0)
            if refused in (errno.EBUSY, errno.EPERM):  # the second: the group is another socket's
                raise BrokerError("another program reads NFLOG group 0")
            if refused:
                raise OSError(refused, os.strerror(refused), f"NFLOG group {_GROUP}")
    except BaseException:
        sock.close()
        raise
    return sock


class TraceLog:
    """nf_log of a namespace, switched to nfnetlink_log until close(), or until this process ends."""

    def __init__(self) -> None:
        """Open the sysctls of the current namespace. Raises OSError."""
        self._fds: list[int] = []
        self._ours: socket.socket | None = None
        with ExitStack() as opened:
            for path in _SYSCTLS:
                self._fds.append(os.open(path, os.O_RDWR | os.O_CLOEXEC))
                opened.callback(os.close, self._fds[-1])
            self._before = [os.pread(fd, 64, 0).strip() for fd in self._fds]
            opened.pop_all()

    def switch(self) -> None:
        """Switch it. To be called in our own namespace, in which the process that switches it back stays.

        Raises OSError; BrokerError if that process does not start.
        """
        try:
            self.keep()
            for fd in self._fds:
                os.pwrite(fd, _LOGGER, 0)
        except BaseException:
            self.close()
            raise

    def keep(self) -> None:
        """Start the process that switches it back, unless it runs. Raises BrokerError."""
        if self._ours is not None and _is_open(self._ours):
            return
        self._release()
        self._ours, theirs = socket.socketpair()
        with theirs:
            _start(theirs.fileno(), self._fds, self._before)
        self._ours.settimeout(_START_S)
        try:
            started = bool(self._ours.recv(1))
        except OSError:
            started = False
        self._ours.setblocking(False)
        if not started:
            raise BrokerError("nf_log is not switched: the process that switches it back does not start")

    def close(self) -> None:
        """Switch it back. The process that would do so ends, since there is nothing left to do."""
        for fd, value in zip(self._fds, self._before, strict=True):
            with suppress(OSError):  # the namespace is gone
                if os.pread(fd, 64, 0).strip() == _LOGGER:
                    os.pwrite(fd, value, 0)
        while self._fds:
            os.close(self._fds.pop())
        self._release()

    def _release(self) -> None:
        if self._ours is not None:
            self._ours.close()
            self._ours = None


def _is_open(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def _start(stdin: int, fds: list[int], values: list[bytes]) -> None:
    """Start the process, as no child of ours. It says by a byte on its standard input that it runs."""
    child = os.fork()
    if not child:
        try:
            os.setsid()
            if os.fork():
                os._exit(0)
            _become(stdin, fds, values)
        finally:
            os._exit(1)
    os.waitpid(child, 0)


def _become(stdin: int, fds: list[int], values: list[bytes]) -> None:
    os.dup2(stdin, 0)
    for fd in fds:
        os.set_inheritable(fd, True)
    close_all_but(*fds)
    privileges.set_capabilities({privileges.NET_ADMIN} & privileges.permitted_capabilities(), inheritable=True)
    arguments = [word for fd, value in zip(fds, values, strict=True) for word in (str(fd), value.decode())]
    os.execve(sys.executable, ("nf_log-restore", "-I", "-S", "-c", _RESTORE, *arguments), TOOL_ENVIRONMENT)
