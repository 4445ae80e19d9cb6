"""The system calls that the confined app may not make, each with its reason: the one table of the filter."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass
from signal import SIGSTOP, SIGTSTP

from nettop.linux import process
from nettop.linux.socket import AF_UNIX
from nettop.linux.terminal import IOCTLS as TERMINAL_IOCTLS

# asm-generic/fcntl.h: O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_TMPFILE
_WRITING = 0o1 | 0o2 | 0o100 | 0o1000 | 0o20000000
# linux/sched.h
_CLONE_FILES, _CLONE_THREAD = 0x0400, 0x0001_0000
_CLONE_NAMESPACES = 0x7E02_0080  # CLONE_NEW*: time, mount, cgroup, uts, ipc, user, pid, net
_CLOSE_RANGE_UNSHARE = 2  # linux/close_range.h
_FCNTLS = (
    process.F_DUPFD, process.F_GETFD, process.F_SETFD, process.F_GETFL, process.F_DUPFD_CLOEXEC, process.F_SETPIPE_SZ,
    process.F_ADD_SEALS,
)  # fmt: skip
_PRCTLS = (
    process.PR_SET_NAME, process.PR_GET_NAME, process.PR_GET_DUMPABLE, process.PR_GET_SECCOMP,
    process.PR_SET_NO_NEW_PRIVS, process.PR_SET_VMA,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Refusal:
    """System calls that are refused, always or but for some values of one argument."""

    calls: str  # their names
    reason: str
    error: int = errno.EPERM
    argument: int | None = None  # its index; `argument & mask` in `allowed` is not refused here
    allowed: tuple[int, ...] = ()
    mask: int = 0xFFFF_FFFF  # the filter sees its low half, as the kernel does


def refusals(pid: int) -> Iterable[Refusal]:
    """Yield every refusal for the process `pid`. A call that none of them refuses is allowed."""
    yield from _ALWAYS
    yield Refusal("kill", "signals other processes; 0 is our own job (Ctrl-Z)", argument=0, allowed=(pid, 0))
    yield Refusal("kill", "ends our own job, which may be a script", argument=1, allowed=(SIGTSTP, SIGSTOP))
    yield Refusal("tgkill", "signals other processes", argument=0, allowed=(pid,))
    yield Refusal("prlimit64", "changes limits of other processes", argument=0, allowed=(pid, 0))


_ALWAYS = (
    Refusal("execve execveat", "runs another program: sudo with a cached ticket, or any setuid program"),
    Refusal("fork vfork", "makes a process that outlives nettop"),
    Refusal(
        "clone",
        "makes a process or a namespace; a thread is allowed, if its descriptors are ours and so in the broker's sight",
        argument=0,
        mask=_CLONE_FILES | _CLONE_THREAD | _CLONE_NAMESPACES,
        allowed=(_CLONE_FILES | _CLONE_THREAD,),
    ),
    Refusal(
        "close_range", "gives a thread descriptors of its own", argument=2, mask=_CLOSE_RANGE_UNSHARE, allowed=(0,)
    ),
    Refusal("clone3", "its flags are in memory; libc then uses clone", errno.ENOSYS),
    Refusal("setns unshare", "enters or makes namespaces"),
    Refusal(
        "ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp pidfd_getfd",
        "reads or changes other processes of the same user, or takes their descriptors",
    ),
    Refusal("setpgid setsid", "joins another job of the terminal, and signals it by kill(0)"),
    Refusal(
        "fcntl",
        "F_SETOWN and F_SETSIG, or O_ASYNC, signal other processes; leases and locks stop them",
        argument=1,
        allowed=_FCNTLS,
    ),
    Refusal("flock", "locks files that other processes lock"),
    Refusal("tkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal", "signals other processes"),
    Refusal(
        "setpriority ioprio_set sched_setaffinity sched_setattr sched_setparam sched_setscheduler",
        "changes the scheduling of other processes",
    ),
    Refusal(
        "socket bind connect listen accept accept4", "uses the network: the broker opens sockets and resolves names"
    ),
    Refusal("sendmsg sendmmsg", "names a receiver, or passes descriptors: both are in memory"),
    Refusal(
        "sendto",
        "names a receiver: another device of a packet socket, or any socket in the file system",
        argument=5,  # the length of the name, without which the kernel ignores it
        allowed=(0,),
    ),
    Refusal("socketpair", "loads protocols of the kernel", argument=0, allowed=(AF_UNIX,)),
    Refusal(
        "setsockopt",
        "changes a passed socket: NETLINK_BROADCAST_ERROR freezes conntrack, SO_RCVBUFFORCE and PACKET_TX_RING take "
        "the kernel's memory, SO_ATTACH_FILTER widens a capture; the broker sets options before it passes sockets",
    ),
    Refusal(
        "ioctl",
        "TIOCSTI and TIOCLINUX type into the terminal; devices have a thousand others",
        argument=1,
        allowed=TERMINAL_IOCTLS,
    ),
    Refusal("prctl", "makes the process dumpable, so that others can trace it", argument=0, allowed=_PRCTLS),
    Refusal(
        "open", "changes files: the broker creates those that are written", argument=1, mask=_WRITING, allowed=(0,)
    ),
    Refusal("openat", "changes files", argument=2, mask=_WRITING, allowed=(0,)),
    Refusal("openat2", "its flags are in memory", errno.ENOSYS),
    Refusal(
        "creat truncate mkdir mkdirat mknod mknodat rmdir unlink unlinkat rename renameat renameat2 link linkat "
        "symlink symlinkat",
        "changes files",
    ),
    Refusal(
        "chmod fchmod fchmodat chown fchown lchown fchownat utime utimes utimensat futimesat setxattr lsetxattr "
        "fsetxattr removexattr lremovexattr fremovexattr",
        "changes the owners, modes, times and attributes of files",
    ),
    Refusal("name_to_handle_at open_by_handle_at", "opens files around directories that are closed"),
    Refusal(
        "mq_open mq_unlink msgget msgsnd msgrcv msgctl semget semop semtimedop semctl shmget shmat shmdt shmctl",
        "reaches other processes: the numbers of their memory are in /proc/sysvipc",
    ),
    Refusal("io_setup", "takes from what all processes of the host may have (fs.aio-max-nr)"),
    Refusal(
        "bpf perf_event_open userfaultfd", "large parts of the kernel that have had holes, and that nettop does not use"
    ),
    Refusal("io_uring_setup io_uring_enter io_uring_register", "makes any other call past this filter", errno.ENOSYS),
    Refusal("keyctl add_key request_key", "reads the user's keys, and has had holes"),
    Refusal("seccomp", "adds a filter with a listener of its own"),
    Refusal(
        "mount umount2 pivot_root chroot move_mount fsopen fsconfig fsmount fspick open_tree mount_setattr swapon "
        "swapoff quotactl quotactl_fd acct fanotify_init",
        "changes file systems",
    ),
    Refusal(
        "init_module finit_module delete_module kexec_load kexec_file_load reboot settimeofday clock_settime "
        "clock_adjtime adjtimex sethostname setdomainname syslog vhangup iopl ioperm modify_ldt personality "
        "lookup_dcookie move_pages migrate_pages",
        "administers the host; refused without rights, too",
    ),
)
