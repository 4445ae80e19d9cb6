"""The kernel's numbers that the broker uses, each with its header, and the system calls Python 3.11 does not wrap."""

from __future__ import annotations

import ctypes
import os

# linux/sched.h
CLONE_NEWNS = 0x0002_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWNET = 0x4000_0000

NS_GET_NSTYPE = 0xB703  # linux/nsfs.h

# sys/inotify.h
IN_MOVED_FROM = 0x40
IN_DELETE = 0x200
IN_DELETE_SELF = 0x400

# linux/prctl.h
PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4

# linux/fcntl.h
F_ADD_SEALS = 1033
F_SEALS_ALL = 0x1 | 0x2 | 0x4 | 0x8  # SEAL, SHRINK, GROW, WRITE

# asm-generic/socket.h
SO_ATTACH_FILTER = 26
SO_RCVBUFFORCE = 33

# linux/netlink.h
SOL_NETLINK = 270
NETLINK_ADD_MEMBERSHIP = 1
NLM_F_REQUEST = 0x1
NLM_F_DUMP = 0x300

# linux/if_packet.h, linux/if_ether.h
SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP = 1
PACKET_MR_PROMISC = 1
PACKET_RX_RING = 5
PACKET_VERSION = 10
TPACKET_V3 = 2
ETH_P_ALL = 0x0003

# linux/sockios.h, linux/if.h, linux/if_arp.h
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
SIOCGIFMTU = 0x8921
SIOCGIFHWADDR = 0x8927
IFF_UP = 0x1
ARPHRD_ETHER = 1
ARPHRD_LOOPBACK = 772

# linux/capability.h
_CAPABILITY_NAMES = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
    NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
    SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
    MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
CAPABILITIES = {name: bit for bit, name in enumerate(_CAPABILITY_NAMES.split())}
LINUX_CAPABILITY_VERSION_3 = 0x2008_0522

libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> int:
    """Return the result of a libc call; raises OSError with errno and `what` when it is negative."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def prctl(option: int, a: int = 0, b: int = 0) -> int:
    """prctl(2); raises OSError."""
    arguments = (ctypes.c_ulong(a), ctypes.c_ulong(b), ctypes.c_ulong(0), ctypes.c_ulong(0))
    return checked(libc.prctl(option, *arguments), "prctl")


def setns(fd: int) -> None:
    """Move the calling thread into the network namespace `fd`; raises OSError."""
    checked(libc.setns(fd, CLONE_NEWNET), "setns")


def unshare(flags: int) -> None:
    """unshare(2); raises OSError."""
    checked(libc.unshare(flags), "unshare")


def inotify_init() -> int:
    """Return a non-blocking inotify descriptor; raises OSError."""
    return checked(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify_init1")


def inotify_watch(fd: int, path: str, mask: int) -> int:
    """Watch `path`; returns the watch descriptor, raises OSError."""
    return checked(libc.inotify_add_watch(fd, os.fsencode(path), mask), "inotify_add_watch")
