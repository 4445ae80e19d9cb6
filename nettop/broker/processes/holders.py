"""The processes that hold sockets, from /proc: any process may hold a socket of any namespace."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

_PREFIX, _END = "socket:[", "]"


@dataclass(slots=True)
class Holder:
    """The process of the lowest number that holds a socket, and how many hold it. `name` is its comm."""

    pid: int
    name: str
    sharers: int = 1


def holders(inodes: Collection[int]) -> dict[int, Holder]:
    """Return the holders of sockets by inode, without processes we may not inspect or that end meanwhile.

    Needs CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH for other users' processes (proc(5), /proc/pid/fd).
    """
    inode_of_link = {f"{_PREFIX}{inode}{_END}": inode for inode in inodes}
    found: dict[int, Holder] = {}
    processes = os.listdir("/proc") if inode_of_link else []  # a namespace without sockets costs no walk
    for pid in sorted(int(entry) for entry in processes if entry.isdecimal()):
        with suppress(OSError):
            _add_holder(pid, inode_of_link, found)
    return found


def _add_holder(pid: int, inode_of_link: dict[str, int], found: dict[int, Holder]) -> None:
    process = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY)  # so that a reused number is not mixed up
    try:
        held_inodes = {inode_of_link[link] for link in _links(process) if link in inode_of_link}
        name = _name(process) if held_inodes else ""
    finally:
        os.close(process)
    for inode in held_inodes:
        if inode in found:
            found[inode].sharers += 1
        else:
            found[inode] = Holder(pid, name)


def _links(process: int) -> list[str]:
    """Return the targets of the descriptors of a process."""
    folder = os.open("fd", os.O_RDONLY | os.O_DIRECTORY, dir_fd=process)
    try:
        found = []
        for number in os.listdir(folder):
            try:
                found.append(os.readlink(number, dir_fd=folder))
            except FileNotFoundError:  # it was closed meanwhile
                continue
        return found
    finally:
        os.close(folder)


def _name(process: int) -> str:
    """Return the comm of a process: up to 15 bytes of its own choice; what is not UTF-8 becomes \\xNN."""
    comm = os.open("comm", os.O_RDONLY, dir_fd=process)
    try:
        return os.read(comm, 64).removesuffix(b"\n").decode(errors="backslashreplace")
    finally:
        os.close(comm)
