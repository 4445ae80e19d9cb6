"""A program behind a tun or tap device: it answers ARP requests and pings for every address, on the file descriptor."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
from contextlib import suppress

_MAC = bytes.fromhex("020000000001")  # of the program, as the other end of a tap device
_ETH_ARP, _ETH_IP = b"\x08\x06", b"\x08\x00"
_ARP_REQUEST, _ARP_REPLY = b"\0\1\x08\0\6\4\0\1", b"\0\1\x08\0\6\4\0\2"  # RFC 826: Ethernet, IPv4
_ECHO_REQUEST, _ICMP = 8, 1
# linux/if_tun.h
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_TAP, _IFF_NO_PI = 1, 2, 0x1000


def answer_packet(packet: bytes) -> bytes | None:
    """Return the echo reply to an IPv4 echo request without fragments (RFC 792); None for any other packet."""
    header = (packet[0] & 0xF) * 4 if packet else 0
    if header < 20 or len(packet) < header + 8 or packet[0] >> 4 != 4 or packet[9] != _ICMP:
        return None
    if packet[header] != _ECHO_REQUEST or int.from_bytes(packet[6:8]) & 0x3FFF:
        return None
    checksum = int.from_bytes(packet[header + 2 : header + 4]) + (_ECHO_REQUEST << 8)  # RFC 1624: only the type changes
    checksum = (checksum & 0xFFFF) + (checksum >> 16)
    icmp = b"\0\0" + checksum.to_bytes(2) + packet[header + 4 :]
    return packet[:12] + packet[16:20] + packet[12:16] + packet[20:header] + icmp


def answer_frame(frame: bytes) -> bytes | None:
    """Return the answer to an Ethernet frame with an ARP request or an echo request; None for any other frame."""
    sender, kind, body = frame[6:12], frame[12:14], frame[14:]
    if kind == _ETH_ARP and len(body) >= 28 and body[:8] == _ARP_REQUEST:
        return sender + _MAC + kind + _ARP_REPLY + _MAC + body[24:28] + body[8:18]
    reply = answer_packet(body) if kind == _ETH_IP else None
    return None if reply is None else sender + _MAC + kind + reply


async def answer(kind: str, device: str) -> None:
    """Attach to a device (`kind`: tun or tap) of this namespace and answer until cancelled. OSError if refused."""
    reply_to, flag = (answer_frame, _IFF_TAP) if kind == "tap" else (answer_packet, _IFF_TUN)
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("=16sH14x", device.encode(), flag | _IFF_NO_PI))

    def answer_next() -> None:
        with suppress(OSError):  # none is there, or the device is down
            reply = reply_to(os.read(fd, 1 << 16))
            if reply is not None:
                os.write(fd, reply)

    asyncio.get_running_loop().add_reader(fd, answer_next)
    await asyncio.Event().wait()
