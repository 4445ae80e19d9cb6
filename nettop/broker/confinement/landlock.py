"""Landlock (landlock(7)): a second lock beside the system call filter, where the kernel has it."""

from __future__ import annotations

import ctypes
import os
import struct

from nettop.broker import abi
from nettop.linux import landlock


def version() -> int:
    """Return the kernel's ABI version; 0: it has no Landlock, or it is switched off."""
    flags = ctypes.c_long(landlock.LANDLOCK_CREATE_RULESET_VERSION)
    found = abi.libc.syscall(ctypes.c_long(landlock.LANDLOCK_CREATE_RULESET), None, ctypes.c_size_t(0), flags)
    return max(0, int(found))


def restrict() -> None:
    """Forbid this thread and those that it starts, for good, to change files, use TCP or abstract sockets.

    There is no exception: what is written is opened by the broker. Needs no_new_privs. Raises OSError; does nothing
    where there is no Landlock.
    """
    abi_version = version()
    if not abi_version:
        return
    attributes = ruleset(abi_version)
    create = ctypes.c_long(landlock.LANDLOCK_CREATE_RULESET)
    fd = abi.libc.syscall(create, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_long(0))
    abi.checked(fd, "landlock_create_ruleset")
    try:
        enforce = ctypes.c_long(landlock.LANDLOCK_RESTRICT_SELF)
        abi.checked(abi.libc.syscall(enforce, ctypes.c_long(fd), ctypes.c_long(0)), "landlock_restrict_self")
    finally:
        os.close(fd)


def ruleset(abi_version: int) -> bytes:
    """Return struct landlock_ruleset_attr with all that a kernel of this ABI version can forbid.

    An older kernel takes the longer structure as well, if the members that it does not know are zero.
    """
    tables = landlock.CHANGING_FILES, landlock.TCP, landlock.SCOPES
    handled = (sum(bits for since, bits in table.items() if since <= abi_version) for table in tables)
    return struct.pack("=3Q", *handled)
