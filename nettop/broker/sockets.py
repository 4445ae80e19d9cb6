"""Opening packet and netlink sockets, and naming devices, in the namespace the caller has entered."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress

from nettop.broker import abi
from nettop.broker.capture_filter import libpcap
from nettop.broker.requests import CaptureDevice, OpenNetlinkSocket, OpenPacketSocket
from nettop.errors import BrokerError
from nettop.linux import interface, packet
from nettop.linux.linktypes import LINKTYPE_ETHERNET, LINKTYPE_RAW
from nettop.linux.netlink import NETLINK_ADD_MEMBERSHIP, NETLINK_NETFILTER, NETLINK_ROUTE
from nettop.linux.nfnetlink import NFNLGRP_MAX
from nettop.linux.rtnetlink import RTNLGRP_MAX
from nettop.linux.socket import (
    SO_ATTACH_FILTER,
    SO_LOCK_FILTER,
    SO_RCVBUFFORCE,
    SO_SNDBUFFORCE,
    SOL_NETLINK,
    SOL_PACKET,
)
from nettop.text.sanitize import clean, decoded
from nettop.text.units import listed

MAX_RING = 2 << 30  # bytes
MAX_RCVBUF = 512 << 20  # bytes of a buffer
MAX_SNAPLEN = 262144
MAX_GROUP = {NETLINK_NETFILTER: NFNLGRP_MAX, NETLINK_ROUTE: RTNLGRP_MAX}
_FRAME_SIZE = 2048  # only a unit of accounting: TPACKET_V3 packs frames of any size into a block
_RETIRE_MS = 50  # a block is shown at the latest this long after its first packet
RECEIVE_BUFFER, SEND_BUFFER = (SO_RCVBUFFORCE, socket.SO_RCVBUF), (SO_SNDBUFFORCE, socket.SO_SNDBUF)
_MAX_PROGRAM = 4096 * 8  # BPF_MAXINSNS instructions


def devices() -> list[CaptureDevice]:
    """Return the devices of the current namespace, by ifindex."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        found = [_read_device(sock, index, name) for index, name in sorted(socket.if_nameindex())]
    return [device for device in found if device is not None]


def device(name: str) -> CaptureDevice:
    """Return the device of that name in the current namespace; raises BrokerError."""
    present = devices()
    for candidate in present:
        if candidate.name == name:
            return candidate
    raise BrokerError(f"no device {name!r}", f"there are {listed([clean(d.name) for d in present])}")


def linktype(of: CaptureDevice) -> int:
    """Return the link type of packets from packet_socket(): Ethernet frames, or from the IP header on for the rest."""
    return LINKTYPE_ETHERNET if of.arphrd in (interface.ARPHRD_ETHER, interface.ARPHRD_LOOPBACK) else LINKTYPE_RAW


def write_program(of: CaptureDevice, request: OpenPacketSocket) -> None:
    """Compile the filter of a request for its device, in the device's namespace, and write it to stdout."""
    if linktype(of) == LINKTYPE_RAW:
        program = libpcap.compile_program(LINKTYPE_RAW, request.expression, request.snaplen)
    else:
        name = socket.if_indextoname(of.ifindex)
        program = libpcap.compile_live(name, request.snaplen, request.expression)
    os.write(1, program)


def packet_socket(of: CaptureDevice, request: OpenPacketSocket, program: bytes) -> tuple[socket.socket, bool]:
    """Return an AF_PACKET socket with ring and filter, bound to the device; `program`: an array of struct sock_filter.

    It is created for protocol 0 and bound last, so that nothing unfiltered slips in. Its holder cannot change the
    filter. False with it: the kernel refuses the program, as it does backward jumps (`protochain`) or too many
    instructions, and the socket gets every packet. Raises OSError.
    """
    kind = socket.SOCK_RAW if linktype(of) == LINKTYPE_ETHERNET else socket.SOCK_DGRAM
    sock = socket.socket(socket.AF_PACKET, kind, 0)
    try:
        sock.setsockopt(SOL_PACKET, packet.PACKET_VERSION, packet.TPACKET_V3)
        _set_ring(sock, request)
        filtered = not program or _attach_packet_filter(sock, program)
        if not program or not filtered:
            _attach(sock, accept_all(request.snaplen))
        if of.arphrd == interface.ARPHRD_ETHER:
            membership = struct.pack("iHH8x", of.ifindex, packet.PACKET_MR_PROMISC, 0)
            sock.setsockopt(SOL_PACKET, packet.PACKET_ADD_MEMBERSHIP, membership)
        if of.arphrd == interface.ARPHRD_LOOPBACK:
            with suppress(OSError):  # before Linux 4.20 the reader leaves them out
                sock.setsockopt(SOL_PACKET, packet.PACKET_IGNORE_OUTGOING, 1)
        _bind(sock, of.ifindex)
    except BaseException:
        sock.close()
        raise
    return sock, filtered


def _bind(sock: socket.socket, ifindex: int) -> None:
    """Bind by index, with struct sockaddr_ll: Python takes only a name, and only in UTF-8."""
    protocol = socket.htons(packet.ETH_P_ALL)
    address = packet.SOCKADDR_LL.pack(socket.AF_PACKET, protocol, ifindex, 0, 0, 0)
    abi.checked(abi.libc.bind(sock.fileno(), address, len(address)), "bind")


def check_packet_request(request: OpenPacketSocket) -> None:
    """Raise BrokerError for sizes no ring can have, or that would leave the host short of memory."""
    page_multiple = request.block_size % 4096 == 0 and request.block_size >= 4096
    if not page_multiple or request.block_count < 1 or request.block_size * request.block_count > MAX_RING:
        raise BrokerError(f"a ring of {request.block_count} × {request.block_size} bytes is not possible")
    if not 1 <= request.snaplen <= MAX_SNAPLEN:
        raise BrokerError(f"a snaplen of {request.snaplen} is not possible", f"give 1 to {MAX_SNAPLEN}")
    with open("/proc/meminfo", encoding="ascii") as lines:
        available = spare_memory(lines)
    if request.block_size * request.block_count > available:
        raise BrokerError(
            f"no memory for a ring of {request.block_size * request.block_count >> 20} MiB", "capture on fewer devices"
        )


def spare_memory(meminfo: Iterable[str]) -> int:
    """Return the bytes that rings may use: those free or reclaimable (proc(5), MemAvailable), less an eighth of all.

    A ring is the kernel's memory, which no limit of the app counts and which is never swapped out.
    """
    sizes = {name: int(rest.split()[0]) << 10 for name, _, rest in (line.partition(":") for line in meminfo)}
    return sizes["MemAvailable"] - sizes["MemTotal"] // 8


def accept_all(snaplen: int) -> bytes:
    """Return the program `ret #snaplen`."""
    return struct.pack("HBBI", 0x06, 0, 0, snaplen)  # linux/bpf_common.h BPF_RET | BPF_K


def netlink_socket(request: OpenNetlinkSocket, buffer: int) -> socket.socket:
    """Return a netlink socket of the current namespace: bound, with a buffer of that size, its filter and groups.

    The filter comes before the groups, so that nothing unfiltered slips in. Raises OSError, BrokerError.
    """
    highest = MAX_GROUP.get(request.protocol)
    if highest is None or any(not 1 <= group <= highest for group in request.groups):
        raise BrokerError(f"not on the list: netlink protocol {request.protocol} with groups {request.groups[:8]}")
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, request.protocol)
    try:
        set_buffer(sock, RECEIVE_BUFFER, buffer)
        sock.bind((0, 0))
        if request.program:
            _attach(sock, request.program)
        for group in request.groups:
            sock.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
    except BaseException:
        sock.close()
        raise
    return sock


def set_buffer(sock: socket.socket, options: tuple[int, int], size: int) -> None:
    """Set RECEIVE_BUFFER or SEND_BUFFER: up to MAX_RCVBUF, in a user namespace to net.core.rmem_max or wmem_max."""
    for option in options:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, option, max(4096, min(size, MAX_RCVBUF)))
            return


def _set_ring(sock: socket.socket, request: OpenPacketSocket) -> None:
    frames = request.block_size // _FRAME_SIZE * request.block_count
    ring = struct.pack("7I", request.block_size, request.block_count, _FRAME_SIZE, frames, _RETIRE_MS, 0, 0)
    sock.setsockopt(SOL_PACKET, packet.PACKET_RX_RING, ring)


def _attach(sock: socket.socket, program: bytes) -> None:
    if not program or len(program) % 8 or len(program) > _MAX_PROGRAM:
        raise BrokerError("not on the list: a filter that is no BPF program")
    instructions = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("HP", len(program) // 8, ctypes.addressof(instructions))  # linux/filter.h struct sock_fprog
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)
    sock.setsockopt(socket.SOL_SOCKET, SO_LOCK_FILTER, 1)


def _attach_packet_filter(sock: socket.socket, program: bytes) -> bool:
    """Return False if the kernel refuses the program (bpf_check_classic of net/core/filter.c, or optmem_max)."""
    if len(program) > _MAX_PROGRAM:
        return False
    try:
        _attach(sock, program)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOMEM):
            raise
        return False
    return True


def _read_device(sock: socket.socket, index: int, name: str) -> CaptureDevice | None:
    """Return the device, or None if it has disappeared meanwhile."""
    try:
        hardware = struct.unpack_from("H", _ioctl(sock, interface.SIOCGIFHWADDR, name), 16)[0]
        flags = struct.unpack_from("H", _ioctl(sock, interface.SIOCGIFFLAGS, name), 16)[0]
        mtu = struct.unpack_from("i", _ioctl(sock, interface.SIOCGIFMTU, name), 16)[0]
    except OSError:
        return None
    return CaptureDevice(decoded(os.fsencode(name)), index, hardware, bool(flags & interface.IFF_UP), mtu)


def _ioctl(sock: socket.socket, request: int, name: str) -> bytes:
    ifreq = os.fsencode(name).ljust(40, b"\0")  # struct ifreq, linux/if.h
    return fcntl.ioctl(sock.fileno(), request, ifreq)
