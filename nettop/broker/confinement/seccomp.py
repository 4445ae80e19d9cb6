"""The system call filter of a process: a classic BPF program for seccomp(2), made from the table of refusals."""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from collections.abc import Iterable, Iterator

from nettop.broker import abi
from nettop.broker.confinement.refusals import Refusal
from nettop.linux import seccomp as bpf

_ALLOW = bpf.SECCOMP_RET_ALLOW

Instruction = tuple[int, int, int, int]  # struct sock_filter: code, jump if true, jump if false, constant


class _Program(ctypes.Structure):
    """struct sock_fprog, linux/filter.h."""

    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def unsupported() -> str:
    """Return the reason why this host cannot filter system calls; "": it can."""
    machine = platform.machine()
    if machine not in bpf.NUMBERS or struct.calcsize("P") != 8:
        return f"nettop knows no system call numbers of {machine} with {8 * struct.calcsize('P')}-bit programs"
    action = ctypes.c_uint32(bpf.SECCOMP_RET_ERRNO)
    try:
        abi.syscall("seccomp", bpf.SECCOMP_GET_ACTION_AVAIL, 0, ctypes.addressof(action))
    except OSError as error:
        return f"the kernel has no seccomp filters ({error.strerror})"
    return ""


def install(refusals: Iterable[Refusal]) -> None:
    """Refuse these calls in every thread of this process, for good. Needs no_new_privs; raises OSError."""
    code = program(platform.machine(), refusals)
    made = _Program(len(code) // 8, code)
    flags = bpf.SECCOMP_FILTER_FLAG_TSYNC
    if thread := abi.syscall("seccomp", bpf.SECCOMP_SET_MODE_FILTER, flags, ctypes.addressof(made)):
        raise OSError(errno.ESRCH, f"thread {thread} has another system call filter")


def program(machine: str, refusals: Iterable[Refusal]) -> bytes:
    """Return the filter as an array of struct sock_filter.

    Every call of another architecture (32-bit, x32) and every call newer than the table is refused with ENOSYS.
    """
    numbers = bpf.NUMBERS[machine]
    body = [line for refusal in refusals for line in _refused(refusal, numbers)]
    unknown = _return_error(errno.ENOSYS)
    lines: list[Instruction] = [
        _load(bpf.SECCOMP_DATA_ARCH),
        (bpf.JUMP_EQUAL, 1, 0, bpf.AUDIT_ARCH[machine]),
        unknown,
        _load(bpf.SECCOMP_DATA_NR),
        (bpf.JUMP_GREATER_EQUAL, 0, 1, bpf.LAST_CALL + 1),
        unknown,
        *body,
        (bpf.RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def _refused(refusal: Refusal, numbers: dict[str, int]) -> Iterator[Instruction]:
    """Yield the instructions of a refusal; the call's number is loaded before and, if it goes on, afterwards."""
    outcome = [*_checked(refusal)]
    for name in refusal.calls.split():
        if name in numbers:
            yield bpf.JUMP_EQUAL, 0, len(outcome), numbers[name]
            yield from outcome


def _checked(refusal: Refusal) -> Iterator[Instruction]:
    """Yield the instructions that return the error, unless an argument has one of the allowed values."""
    refused = _return_error(refusal.error)
    if refusal.argument is None:
        yield refused
        return
    yield _load(bpf.SECCOMP_DATA_ARGS + 8 * refusal.argument)  # the low half: both machines are little-endian
    yield bpf.AND_CONSTANT, 0, 0, refusal.mask
    for left, value in zip(range(len(refusal.allowed), 0, -1), refusal.allowed, strict=True):
        yield bpf.JUMP_EQUAL, left, 0, value
    yield refused
    yield _load(bpf.SECCOMP_DATA_NR)


def _load(offset: int) -> Instruction:
    return bpf.LOAD_WORD, 0, 0, offset


def _return_error(number: int) -> Instruction:
    return bpf.RETURN, 0, 0, bpf.SECCOMP_RET_ERRNO | number
