"""The traffic of a lab: TCP, UDP and ICMP of several rates, started by lines of text.

wait HOST PORT                      a TCP server answers there; other lines start after it
serve tcp|udp|ftp ADDRESS PORT      a server
get HOST PORT BYTES RATE            one TCP download at a rate (bytes/s; 0: at once); BYTES may be MIN-MAX
ftp HOST BYTES RATE                 one FTP download in passive mode
send HOST PORT BYTES SECONDS [N]    a UDP datagram every SECONDS, N of them
ping HOST SECONDS                   an echo request every SECONDS
answer tun|tap DEVICE               a program that attaches to the device and answers pings on its descriptor
every SECONDS LINE                  start LINE again and again, even if the last run has not ended
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import struct
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, cast

from nettop.labs import responder

_CHUNK = os.urandom(1024)
# RFC 1035, 4.1: the query for www.example.org, and the answer 198.51.100.4 behind the repeated question.
_QUERY = struct.pack("!6H", 0x2A2A, 0x0100, 1, 0, 0, 0) + b"\3www\7example\3org\0" + struct.pack("!2H", 1, 1)
_ANSWER = struct.pack("!3HIH4s", 0xC00C, 1, 1, 300, 4, socket.inet_aton("198.51.100.4"))


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


async def _serve_ftp(address: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve the control connection of RFC 959, as far as a download in passive mode needs it."""
    data = await asyncio.start_server(_serve_bytes, address, 0)
    high, low = divmod(data.sockets[0].getsockname()[1], 256)
    answers = {
        b"PASV": f"227 Entering Passive Mode ({address.replace('.', ',')},{high},{low}).",
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


async def _ftp(host: str, count: str, rate: str) -> None:
    """Download once: the expected data connection is opened a moment after it was announced."""
    with contextlib.suppress(OSError, TimeoutError, ValueError):
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, 21), 3)
        await reader.readline()
        writer.write(b"PASV\r\n")
        reply = (await reader.readline()).decode("ascii", "replace")
        *_, high, low = map(int, reply[reply.index("(") + 1 : reply.index(")")].split(","))
        await asyncio.sleep(3)
        await _get(host, str(high * 256 + low), count, rate)
        writer.write(b"QUIT\r\n")
        await reader.readline()
        writer.close()


async def _serve(protocol: str, address: str, port: str) -> None:
    if protocol == "udp":
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(partial(_Echo, int(port)), local_addr=(address, int(port)))
    else:
        serve = _serve_bytes if protocol == "tcp" else partial(_serve_ftp, address)
        await asyncio.start_server(serve, address, int(port))
    await asyncio.Event().wait()


async def _wait(host: str, port: str) -> None:
    while True:
        with contextlib.suppress(OSError, TimeoutError):
            _, writer = await asyncio.wait_for(asyncio.open_connection(host, int(port)), 1)
            writer.close()
            return
        await asyncio.sleep(0.05)


async def _get(host: str, port: str, count: str, rate: str) -> None:
    least, _, most = count.partition("-")
    with contextlib.suppress(OSError, TimeoutError):
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, int(port)), 3)
        writer.write(f"{random.randint(int(least), int(most or least))} {rate}\n".encode())
        while await reader.read(65536):
            pass
        writer.close()


async def _send(host: str, port: str, size: str, every: str, count: str = "") -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
        sender.connect((host, int(port)))
        sent = 0
        while not count or sent < int(count):
            with contextlib.suppress(OSError):
                sender.send(_QUERY if port == "53" else _CHUNK[: int(size)])
            with contextlib.suppress(OSError):
                sender.recv(4096)
            sent += 1
            await asyncio.sleep(float(every))


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


async def _ping(host: str, every: str) -> None:
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
            await asyncio.sleep(float(every))


async def _every(seconds: str, *line: str) -> None:
    running: set[asyncio.Task[None]] = set()
    while True:
        task = asyncio.create_task(_started(line))
        running.add(task)
        task.add_done_callback(running.discard)
        await asyncio.sleep(float(seconds))


_VERBS: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
    "answer": responder.answer,
    "every": _every,
    "ftp": _ftp,
    "get": _get,
    "ping": _ping,
    "send": _send,
    "serve": _serve,
    "wait": _wait,
}


def _started(line: Iterable[str]) -> Coroutine[Any, Any, None]:
    verb, *arguments = line
    return _VERBS[verb](*arguments)


async def run(lines: Iterable[str]) -> None:
    """Run the lines of one namespace, in which this process is: those that wait first, then the others together."""
    words = [line.split() for line in lines]
    await asyncio.gather(*(_started(line) for line in words if line[0] == "wait"))
    await asyncio.gather(*(_started(line) for line in words if line[0] != "wait"))
