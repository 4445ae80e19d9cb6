"""Landlock: linux/landlock.h. Its system calls have the same numbers on every architecture."""

LANDLOCK_CREATE_RULESET, LANDLOCK_RESTRICT_SELF = 444, 446
LANDLOCK_CREATE_RULESET_VERSION = 1

# LANDLOCK_ACCESS_FS_*
_EXECUTE, _WRITE_FILE = 1 << 0, 1 << 1
_REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))  # REMOVE_DIR to MAKE_SYM
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
# The rights that change files or devices, or run them, by the ABI version that brought them.
CHANGING_FILES = {1: _EXECUTE | _WRITE_FILE | _REMOVE_AND_MAKE, 2: _REFER, 3: _TRUNCATE, 5: _IOCTL_DEV}
TCP = {4: 0b11}  # LANDLOCK_ACCESS_NET_BIND_TCP, LANDLOCK_ACCESS_NET_CONNECT_TCP
SCOPES = {6: 0b01}  # LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET; signals of our own job (Ctrl-Z) are needed
