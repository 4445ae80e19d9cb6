"""Steady traffic through the lab: TCP, UDP and ICMP of several rates, some of it answered, some dropped by a rule."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import struct
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, cast

MACHINE_B = "200.200.200.1"  # gateway B's outside address: port 443 is sent on to 192.168.2.2
INTERNET = "198.51.100.4"
INTERNET6 = "fd00:198::4"
BLOCKED = "203.0.113.66"
_CHUNK = os.urandom(1024)
# RFC 1035, 4.1: the query for www.example.org, and the answer 198.51.100.4 behind the repeated question.
_QUERY = struct.pack("!6H", 0x2A2A, 0x0100, 1, 0, 0, 0) + b"\3www\7example\3org\0" + struct.pack("!2H", 1, 1)
_ANSWER = struct.pack("!3HIH4s", 0xC00C, 1, 1, 300, 4, socket.inet_aton(INTERNET))


async def _serve_bytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer requests of one line, `bytes rate`, with that many bytes at that rate (0: at once)."""
    with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError):
        count, rate = map(int, (await reader.readline()).split())
        sent = 0
        while sent < count:
            chunk = _CHUNK[: min(len(_CHUNK), count - sent)]
            writer.write(chunk)
            await writer.drain()
            sent += len(chunk)
            if rate:
                await asyncio.sleep(len(chunk) / rate)
    writer.close()


class _Echo(asyncio.DatagramProtocol):
    """Answers each datagram with its first bytes, a name server's on port 53, or never (port 4500)."""

    def __init__(self, port: int) -> None:
        self._port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._port == 53:
            header = struct.pack("!5H", 0x8180, 1, 1, 0, 0)  # a response to one question: one answer
            self._transport.sendto(data[:2] + header + data[12:] + _ANSWER, addr)
        elif self._port != 4500:
            self._transport.sendto(data[:512] * 2, addr)


async def _serve_ftp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve the control connection of RFC 959, as far as a download in passive mode needs it."""
    data = await asyncio.start_server(_serve_bytes, INTERNET, 0)
    high, low = divmod(data.sockets[0].getsockname()[1], 256)
    answers = {
        b"PASV": f"227 Entering Passive Mode ({INTERNET.replace('.', ',')},{high},{low}).",
        b"QUIT": "221 Goodbye.",
    }
    with contextlib.suppress(OSError):
        writer.write(b"220 ready\r\n")
        while line := await reader.readline():
            writer.write(answers.get(line.strip(), "200 OK").encode() + b"\r\n")
            await writer.drain()
            if line.startswith(b"QUIT"):
                break
    data.close()
    writer.close()


async def _ftp(host: str, count: int, rate: int) -> None:
    """Download once: the expected data connection is opened a moment after it was announced."""
    with contextlib.suppress(OSError, TimeoutError, ValueError):
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, 21), 3)
        await reader.readline()
        writer.write(b"PASV\r\n")
        reply = (await reader.readline()).decode("ascii", "replace")
        *_, high, low = map(int, reply[reply.index("(") + 1 : reply.index(")")].split(","))
        await asyncio.sleep(3)
        await _download(host, high * 256 + low, count, rate)
        writer.write(b"QUIT\r\n")
        await reader.readline()
        writer.close()


async def machine_b() -> None:
    """Run the server behind gateway B."""
    server = await asyncio.start_server(_serve_bytes, "0.0.0.0", 443)
    await server.serve_forever()


async def internet() -> None:
    """Run the servers between the gateways, IPv4 and IPv6."""
    loop = asyncio.get_running_loop()
    for port in (80, 443):
        await asyncio.start_server(_serve_bytes, [INTERNET, INTERNET6], port)
    await asyncio.start_server(_serve_ftp, INTERNET, 21)
    for host in (INTERNET, INTERNET6):
        for port in (53, 443, 4500):
            await loop.create_datagram_endpoint(partial(_Echo, port), local_addr=(host, port))
    await asyncio.Event().wait()


async def _wait_for_server(host: str, port: int) -> None:
    """Wait until a server answers: the processes of the lab start at the same time."""
    while True:
        with contextlib.suppress(OSError, TimeoutError):
            _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), 1)
            writer.close()
            return
        await asyncio.sleep(0.05)


async def _download(host: str, port: int, count: int, rate: int) -> None:
    with contextlib.suppress(OSError, TimeoutError):
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), 3)
        writer.write(f"{count} {rate}\n".encode())
        while await reader.read(65536):
            pass
        writer.close()


async def _send_udp(host: str, port: int, size: int, every: float, count: int | None) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
        sender.connect((host, port))
        sent = 0
        while count is None or sent < count:
            with contextlib.suppress(OSError):
                sender.send(_QUERY if port == 53 else _CHUNK[:size])
            with contextlib.suppress(OSError):
                sender.recv(4096)
            sent += 1
            await asyncio.sleep(every)


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


async def _ping(host: str, every: float) -> None:
    six = ":" in host
    kind, protocol = (128, socket.IPPROTO_ICMPV6) if six else (8, socket.IPPROTO_ICMP)
    identifier = random.randrange(1, 65535)
    family = socket.AF_INET6 if six else socket.AF_INET
    with socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol) as raw:
        sequence = 0
        while True:
            sequence = sequence + 1 & 0xFFFF
            body = struct.pack("!HH", identifier, sequence) + _CHUNK[:56]
            sum_ = 0 if six else _checksum(struct.pack("!BBH", kind, 0, 0) + body)
            with contextlib.suppress(OSError):
                raw.sendto(struct.pack("!BBH", kind, 0, sum_) + body, (host, 0))
            with contextlib.suppress(OSError):
                while raw.recv(4096):
                    pass
            await asyncio.sleep(every)


async def _start_every(start: Callable[[], Coroutine[Any, Any, None]], every: float) -> None:
    """Run `start` every `every` seconds, even if the last run has not ended."""
    running: set[asyncio.Task[None]] = set()
    while True:
        task = asyncio.create_task(start())
        running.add(task)
        task.add_done_callback(running.discard)
        await asyncio.sleep(every)


async def machine_a() -> None:
    """Run the clients behind gateway A."""
    await asyncio.gather(_wait_for_server(MACHINE_B, 443), _wait_for_server(INTERNET6, 80))
    await asyncio.gather(
        _start_every(lambda: _download(MACHINE_B, 443, 30_000_000, 400_000), 60.0),
        _start_every(lambda: _download(INTERNET, 443, 6_000_000, 60_000), 90.0),
        _start_every(lambda: _download(INTERNET6, 443, 2_000_000, 20_000), 90.0),
        _start_every(lambda: _download(MACHINE_B, 443, random.randrange(500, 20_000), 0), 0.5),
        _start_every(lambda: _download(INTERNET, 80, random.randrange(500, 5_000), 0), 1.3),
        _start_every(lambda: _download(BLOCKED, 443, 1, 0), 1.0),
        _start_every(lambda: _ftp(INTERNET, 400_000, 40_000), 8.0),
        _start_every(lambda: _send_udp(INTERNET, 53, 40, 0.05, 2), 0.4),
        _start_every(lambda: _send_udp(INTERNET6, 53, 60, 0.05, 2), 1.1),
        _send_udp(INTERNET, 443, 900, 0.02, None),
        _send_udp(INTERNET, 4500, 120, 1.0, None),
        _send_udp(BLOCKED, 53, 40, 0.25, None),
        _ping(MACHINE_B, 1.0),
        _ping(INTERNET, 0.5),
        _ping(INTERNET6, 1.0),
    )


ROLES: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {"lan-b": machine_b, "net": internet, "lan-a": machine_a}
