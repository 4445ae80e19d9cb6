"""The features of devices that change captures: GRO and LRO merge packets that come in, GSO and TSO split sent ones."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from array import array
from collections.abc import Iterator

from nettop.linux.interface import IFNAMSIZ, SIOCETHTOOL

_MAX_DEVICES = 500
# linux/ethtool.h: ETHTOOL_GGRO, ETHTOOL_GFLAGS (ETH_FLAG_LRO), ETHTOOL_GGSO, ETHTOOL_GTSO
_ASKED = (("gro", 0x2B, ~0), ("lro", 0x25, 1 << 15), ("gso", 0x23, ~0), ("tso", 0x1E, ~0))


def listing() -> bytes:
    """Return an `ethtool.IFINDEX = gro gso` line for each device of this namespace, with those that are on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        lines = [
            f"ethtool.{ifindex} = {' '.join(word for word, on in found.items() if on)}\n"
            for ifindex, name in socket.if_nameindex()[:_MAX_DEVICES]
            if (found := dict(_features(sock, os.fsencode(name))))
        ]
    return "".join(lines).encode()


def _features(sock: socket.socket, name: bytes) -> Iterator[tuple[str, bool]]:
    """Yield the features that the driver knows, and whether they are on (struct ethtool_value)."""
    for word, command, mask in _ASKED:
        value = array("I", (command, 0))
        try:
            fcntl.ioctl(
                sock, SIOCETHTOOL, struct.pack(f"={IFNAMSIZ}s", name) + struct.pack("P16x", value.buffer_info()[0])
            )
        except OSError:  # it has no such feature, or the device is gone
            continue
        yield word, bool(value[1] & mask)
