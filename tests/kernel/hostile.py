"""What hostile code in the app would try: each deed must fail, and is tried as directly as the kernel lets it."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import platform
import signal
import socket
from collections.abc import Callable

from nettop.linux import packet, seccomp
from nettop.linux.terminal import TIOCLINUX, TIOCSTI

_libc = ctypes.CDLL(None, use_errno=True)
_NUMBERS = seccomp.NUMBERS.get(platform.machine(), {})
AT_FDCWD = -100
NEW_USER, NEW_NET, THREAD = 0x1000_0000, 0x4000_0000, 0x1_0000


def call(name: str | int, *arguments: int | bytes | None) -> int:
    """Make a system call of this architecture as it is; raises OSError."""
    number = _NUMBERS[name] if isinstance(name, str) else name
    passed = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result: int = _libc.syscall(ctypes.c_long(number), *passed)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def spawn() -> None:
    os.posix_spawn("/bin/true", ["true"], {})


def exec_from_memory() -> None:
    fd = os.memfd_create("code")
    call("execveat", fd, b"", None, None, 0x1000)


def call_by_other_abi() -> None:
    """x32: the same numbers with bit 30."""
    call(0x4000_0000 | 39)


def int_0x80() -> None:
    """execve by i386's entry: mov eax, 11; int 0x80; ret."""
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x0b\x00\x00\x00\x31\xdb\x31\xc9\x31\xd2\xcd\x80\x48\x98\xc3")
    entry = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    result = entry()
    if result < 0:
        raise OSError(-result, os.strerror(-result))


def write_into(path: str) -> None:
    open(path, "w").close()


def deeds(parent: int, folder: str, victim: str) -> dict[str, Callable[[], object]]:
    tty = os.open("/dev/tty", os.O_RDONLY) if os.access("/dev/tty", os.R_OK) and _has_tty() else 0
    pair, pipe = socket.socketpair(), os.pipe()
    datagrams = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    every = {
        "exec": lambda: os.execv("/bin/true", ["true"]),
        "exec from memory": exec_from_memory,
        "spawn": spawn,
        "fork": os.fork,
        "clone a process": lambda: call("clone", signal.SIGCHLD, 0, 0, 0, 0),
        "clone into namespaces": lambda: call("clone", signal.SIGCHLD | NEW_USER, 0, 0, 0, 0),
        "clone a thread into a namespace": lambda: call("clone", THREAD | NEW_NET, 0, 0, 0, 0),
        "clone a thread with descriptors of its own": lambda: call("clone", THREAD, 0, 0, 0, 0),
        "descriptors of its own": lambda: call("close_range", 1 << 20, 1 << 20, 2),
        "clone3": lambda: call("clone3", bytes(88), 88),
        "unshare": lambda: call("unshare", NEW_USER),
        "setns": lambda: call("setns", os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC), NEW_NET),
        "ptrace": lambda: call("ptrace", 16, parent, 0, 0),
        "read another's memory": lambda: call("process_vm_readv", parent, None, 0, None, 0, 0),
        "write another's memory": lambda: call("process_vm_writev", parent, None, 0, None, 0, 0),
        "take a descriptor": lambda: call("pidfd_getfd", os.pidfd_open(parent), 0, 0),
        "signal another": lambda: os.kill(parent, 0),
        "signal everything": lambda: os.kill(-1, 0),
        "signal its own job": lambda: os.kill(0, 0),
        "own another's signals": lambda: call("fcntl", pipe[0], 8, parent),  # F_SETOWN
        "own them by a newer call": lambda: call("fcntl", pipe[0], 15, bytes(8)),  # F_SETOWN_EX
        "choose the signal": lambda: call("fcntl", pipe[0], 10, signal.SIGKILL),  # F_SETSIG
        "signal the terminal's job": lambda: call("fcntl", pipe[0], fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK),
        "another process group": lambda: os.setpgid(0, 0),
        "another session": lambda: call("setsid"),
        "lease a file": lambda: call("fcntl", os.open(victim, os.O_RDONLY), 1024, fcntl.F_RDLCK),
        "watch a directory": lambda: call("fcntl", os.open(folder, os.O_RDONLY), 1026, 1),
        "lock a file": lambda: call("flock", os.open(victim, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB),
        "lock it as POSIX does": lambda: fcntl.lockf(os.open(victim, os.O_RDONLY), fcntl.LOCK_SH | fcntl.LOCK_NB),
        "lock an open file description": lambda: call("fcntl", os.open(victim, os.O_RDONLY), 37, bytes(32)),
        "signal by pidfd": lambda: signal.pidfd_send_signal(os.pidfd_open(parent), signal.SIGCONT),
        "signal a thread of another": lambda: call("tgkill", parent, parent, 0),
        "queue a signal": lambda: call("rt_sigqueueinfo", parent, signal.SIGCONT, bytes(128)),
        "limits of another": lambda: call("prlimit64", parent, 4, bytes(16), None),
        "type into the terminal": lambda: fcntl.ioctl(tty, TIOCSTI, b"x"),
        "type, high bits set": lambda: call("ioctl", tty, 1 << 32 | TIOCSTI, b"x"),
        "paste into the console": lambda: fcntl.ioctl(tty, TIOCLINUX, b"\3"),
        "line discipline": lambda: fcntl.ioctl(tty, 0x5423, b"\1\0\0\0"),
        "bpf": lambda: call("bpf", 0, bytes(64), 64),
        "perf": lambda: call("perf_event_open", bytes(128), 0, -1, -1, 0),
        "io_uring": lambda: call("io_uring_setup", 4, bytes(120)),
        "userfaultfd": lambda: call("userfaultfd", 0),
        "keys": lambda: call("keyctl", 0, -3, 0, 0, 0),
        "mount": lambda: call("mount", b"none", b"/mnt", b"tmpfs", 0, None),
        "new mount": lambda: call("fsopen", b"tmpfs", 0),
        "chroot": lambda: os.chroot("/tmp"),
        "internet socket": lambda: socket.socket(),
        "netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12),
        "unix socket": lambda: socket.socket(socket.AF_UNIX),
        "vsock": lambda: call("socket", 40, 1, 0),
        "connect": lambda: pair[0].connect("/run/systemd/journal/socket"),
        "bind": lambda: pair[0].bind(f"{folder}/socket"),
        "listen": lambda: pair[0].listen(),
        "send to a named socket": lambda: datagrams[0].sendto(b"x", f"{folder}/socket"),
        "send to an abstract socket": lambda: datagrams[0].sendto(b"x", b"\0nt-hostile"),
        "send a message": lambda: datagrams[0].sendmsg([b"x"], [], 0, f"{folder}/socket"),
        "send messages": lambda: call("sendmmsg", datagrams[0].fileno(), bytes(64), 1, 0),
        "pass a descriptor": lambda: socket.send_fds(datagrams[0], [b"x"], [0]),
        "pair of another family": lambda: call("socketpair", 30, 1, 0, bytes(8)),  # AF_TIPC
        "shared memory": lambda: call("shmat", 0, None, 0),
        "remove shared memory": lambda: call("shmctl", 0, 0, None),
        "semaphores": lambda: call("semop", 0, bytes(6), 1),
        "remove semaphores": lambda: call("semctl", 0, 0, 0),
        "message queues": lambda: call("msgsnd", 0, bytes(16), 8, 0o4000),
        "read message queues": lambda: call("msgrcv", 0, bytes(64), 8, 0, 0o4000),
        "remove message queues": lambda: call("msgctl", 0, 0, None),
        "the host's share of asynchronous I/O": lambda: call("io_setup", 1, bytes(8)),
        "create a file": lambda: write_into(f"{folder}/new"),
        "write a file": lambda: os.open(victim, os.O_WRONLY),
        "append to a file": lambda: os.open(victim, os.O_RDWR | os.O_APPEND),
        "truncate by open": lambda: os.open(victim, os.O_RDONLY | os.O_TRUNC),
        "truncate": lambda: os.truncate(victim, 0),
        "temporary file": lambda: os.open(folder, os.O_TMPFILE | os.O_RDWR),
        "openat2": lambda: call("openat2", AT_FDCWD, victim.encode(), (1).to_bytes(24, "little"), 24),
        "old open": lambda: call("open", victim.encode(), os.O_RDWR, 0),
        "creat": lambda: call("creat", f"{folder}/new".encode(), 0o600),
        "unlink": lambda: os.unlink(victim),
        "rename": lambda: os.rename(victim, victim + "2"),
        "link": lambda: os.link(victim, victim + "2"),
        "symlink": lambda: os.symlink(victim, victim + "2"),
        "mkdir": lambda: os.mkdir(f"{folder}/new"),
        "mkfifo": lambda: os.mkfifo(f"{folder}/new"),
        "chmod": lambda: os.chmod(victim, 0o777),
        "fchmod": lambda: os.fchmod(os.open(victim, os.O_RDONLY), 0o777),
        "chmod by a newer call": lambda: call(452, AT_FDCWD, victim.encode(), 0o777, 0),
        "attributes": lambda: os.setxattr(victim, "user.x", b"1"),
        "times": lambda: os.utime(victim, (0, 0)),
        "proc's memory": lambda: os.open(f"/proc/{parent}/mem", os.O_RDWR),
        "become traceable": lambda: _prctl(4, 1),
        "name a tracer": lambda: _prctl(0x5961_6D61, parent),
        "another filter": lambda: call("seccomp", 1, 1 << 3, bytes(16)),
        "personality": lambda: call("personality", 0x0040000),
        "core dumps": lambda: __import__("resource").setrlimit(4, (1, 1)),
        "priority": lambda: os.setpriority(os.PRIO_PROCESS, parent, 10),
        "call of a newer kernel": lambda: call(seccomp.LAST_CALL + 1, 0),
    }
    if platform.machine() == "x86_64":
        every |= {"x32": call_by_other_abi, "i386": int_0x80}
    return every


def deeds_on(netlink: int, packets: int) -> dict[str, Callable[[], object]]:
    """Deeds on a passed netlink socket, and on a passed packet socket."""
    events, ring = socket.socket(fileno=netlink), socket.socket(fileno=packets)
    elsewhere = packet.SOCKADDR_LL.pack(socket.AF_PACKET, socket.htons(0x0800), 2, 0, 0, 0)
    return {
        "freeze conntrack": lambda: events.setsockopt(270, 4, 1),  # NETLINK_BROADCAST_ERROR
        "take the kernel's memory": lambda: events.setsockopt(socket.SOL_SOCKET, 33, 1 << 30),  # SO_RCVBUFFORCE
        "join a group": lambda: events.setsockopt(270, 1, 7),
        "transmit by a ring": lambda: ring.setsockopt(263, 13, bytes(28)),  # PACKET_TX_RING
        "detach the filter": lambda: ring.setsockopt(socket.SOL_SOCKET, 27, 0),
        "capture elsewhere": lambda: call("bind", ring.fileno(), bytes(20), 20),
        "send on another device": lambda: call("sendto", ring.fileno(), bytes(64), 64, 0, elsewhere, len(elsewhere)),
        "join a fanout": lambda: ring.setsockopt(263, 18, 1),
    }


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def _has_tty() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY))
    except OSError:
        return False
    return True


def outcome(deed: Callable[[], object]) -> str:
    """The name of the error; "done" if there was none."""
    try:
        deed()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))
    except Exception as error:
        return repr(error)
    return "done"
