"""The BPF programs at the hooks of devices that no netlink message lists: tcx and netkit (bpf(2), linux/bpf.h)."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

from nettop.broker import abi

_MAX_DEVICES, _MOST = 500, 16  # programs of a hook
_GET_FD_BY_ID, _GET_INFO, _QUERY = 13, 15, 16  # BPF_PROG_GET_FD_BY_ID, BPF_OBJ_GET_INFO_BY_FD, BPF_PROG_QUERY
_HOOKS = {"tcx/ingress": 46, "tcx/egress": 47, "netkit/primary": 54, "netkit/peer": 55}  # enum bpf_attach_type
_COUNT, _NAME, _INFO = struct.Struct("24xI"), slice(64, 80), 80  # in union bpf_attr; in struct bpf_prog_info


def listing() -> bytes:
    """Return a `programs.IFINDEX = tcx/ingress:41:name` line for each device of this namespace that has some."""
    lines: list[str] = []
    with suppress(OSError):  # this kernel has no such hooks, or we may not ask
        for ifindex, _ in socket.if_nameindex()[:_MAX_DEVICES]:
            if found := " ".join(_programs(ifindex)):
                lines.append(f"programs.{ifindex} = {found}\n")
    return "".join(lines).encode()


def _programs(ifindex: int) -> Iterator[str]:
    for hook, kind in _HOOKS.items():
        idents = (ctypes.c_uint32 * _MOST)()
        try:
            asked = struct.pack("=4IQ2I4Q", ifindex, kind, 0, 0, ctypes.addressof(idents), _MOST, *[0] * 5)
            count = _COUNT.unpack_from(_bpf(_QUERY, asked)[1])[0]
        except OSError as error:
            if hook.startswith("tcx") and error.errno not in (errno.ENODEV, errno.ENOSPC):
                raise
            continue  # it is gone, or no netkit
        yield from (f"{hook}:{ident}:{_name(ident)}" for ident in idents[: min(count, _MOST)])


def _name(ident: int) -> str:
    """Return the name of a program, which has only letters, digits, `_` and `.`; "": it has none, or is gone."""
    with suppress(OSError):
        fd, _ = _bpf(_GET_FD_BY_ID, struct.pack("=4I", ident, 0, 0, 0))
        try:
            info = ctypes.create_string_buffer(_INFO)
            _bpf(_GET_INFO, struct.pack("=2IQ", fd, _INFO, ctypes.addressof(info)))
            return info.raw[_NAME].split(b"\0", 1)[0].decode("ascii", "replace")
        finally:
            os.close(fd)
    return ""


def _bpf(command: int, attributes: bytes) -> tuple[int, bytes]:
    """Make the system call, and return its result and the attributes after it. Raises OSError."""
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    return abi.syscall("bpf", command, ctypes.addressof(buffer), len(attributes)), buffer.raw
