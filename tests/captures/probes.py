"""The traffic of the small recordings: one exchange after the other, each complete when its answer has arrived."""

from __future__ import annotations

import errno
import select
import socket
import struct
from collections.abc import Sequence

from nettop.errors import NettopError
from tests.captures.topology import CLIENT, CLIENT6, SERVER, within

ANSWER_SECONDS = 10.0
# linux/in.h, linux/in6.h
IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_RECVERR = 10, 2, 11
IPV6_MTU_DISCOVER, IPV6_RECVERR, IPV6_HOPOPTS, IPV6_DSTOPTS = 23, 25, 54, 59
_PADDING = bytes((0, 0, 1, 4, 0, 0, 0, 0))  # RFC 8200, 4.2: an options header of 8 bytes that holds one PadN


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def bound(netns: str, kind: int, address: str, port: int) -> socket.socket:
    """Return a socket of the namespace on this address and port, with a time limit."""

    def make() -> socket.socket:
        sock = socket.socket(_family(address), kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.settimeout(ANSWER_SECONDS)
        sock.bind((address, port))
        return sock

    return within(netns, make)


def source_of(target: str) -> str:
    """Return the client's address in the family of `target`."""
    return CLIENT6 if ":" in target else CLIENT


def tcp(target: str, port: int, sport: int, question: int, answer: int) -> None:
    """Make a connection from the client: `question` bytes there, `answer` bytes back, closed by the client first."""
    with (
        bound("server", socket.SOCK_STREAM, target, port) as listener,
        bound("client", socket.SOCK_STREAM, source_of(target), sport) as client,
    ):
        listener.listen()
        client.connect((target, port))
        server, _ = listener.accept()
        with server:
            client.sendall(bytes(question))
            _read(server, question)
            server.sendall(bytes(answer))
            _read(client, answer)
            client.shutdown(socket.SHUT_WR)
            _read(server, 1)


def _read(sock: socket.socket, count: int) -> None:
    """Read `count` bytes, or up to the end."""
    while count > 0 and (data := sock.recv(count)):
        count -= len(data)


def udp(target: str, port: int, sport: int, size: int, options: Sequence[tuple[int, int, bytes]] = ()) -> None:
    """Send a datagram to the server and one of the same size back. `options`: setsockopt of the client."""
    with (
        bound("server", socket.SOCK_DGRAM, target, port) as server,
        bound("client", socket.SOCK_DGRAM, source_of(target), sport) as client,
    ):
        for option in options:
            client.setsockopt(*option)
        client.sendto(bytes(size), (target, port))
        data, peer = server.recvfrom(65536)
        server.sendto(data, peer)
        client.recv(65536)


def ping(target: str, identifier: int, count: int = 1) -> None:
    """Send echo requests, each after the answer to the last."""
    six = ":" in target
    protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
    with within("client", lambda: socket.socket(_family(target), socket.SOCK_RAW, protocol)) as raw:
        raw.settimeout(ANSWER_SECONDS)
        for sequence in range(count):
            body = struct.pack("!HH", identifier, sequence) + bytes(24)
            raw.sendto(_echo(128 if six else 8, body, summed=not six), (target, 0))
            while (data := raw.recv(4096)[0 if six else 20 :])[0] != (129 if six else 0) or data[4:] != body:
                pass


def _echo(kind: int, body: bytes, summed: bool) -> bytes:
    """Return an ICMP message (RFC 792); the kernel itself fills in ICMPv6's checksum."""
    total = sum(struct.unpack(f"!{len(body) // 2}H", body)) + (kind << 8)
    total = (total >> 16) + (total & 0xFFFF)
    total = (total >> 16) + (total & 0xFFFF)
    return struct.pack("!BBH", kind, 0, ~total & 0xFFFF if summed else 0) + body


def expect_error(target: str, port: int, sport: int, error: int, size: int = 32, hops: int = 64) -> None:
    """Send a datagram from the client, unfragmented, that an ICMP error answers: `error` is its errno."""
    six = ":" in target
    level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
    with bound("client", socket.SOCK_DGRAM, source_of(target), sport) as client:
        client.setsockopt(level, IPV6_RECVERR if six else IP_RECVERR, 1)
        client.setsockopt(level, IPV6_MTU_DISCOVER if six else IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        client.setsockopt(level, socket.IPV6_UNICAST_HOPS if six else socket.IP_TTL, hops)
        client.sendto(bytes(size), (target, port))
        try:
            client.recv(4096)
        except OSError as failed:
            if failed.errno == error:
                return
            raise NettopError(f"{target} port {port}: {failed} instead of {errno.errorcode[error]}") from None
        raise NettopError(f"{target} port {port} answered")


def extension_headers(target: str, port: int, sport: int) -> None:
    """Send a datagram behind a hop-by-hop and a destination options header."""
    headers = [(socket.IPPROTO_IPV6, option, _PADDING) for option in (IPV6_HOPOPTS, IPV6_DSTOPTS)]
    udp(target, port, sport, 40, headers)


def scan(opened: Sequence[int], silent: Sequence[int], others: Sequence[int], sport: int) -> None:
    """Send SYNs to all these ports of the server; return when each but the silent ones has accepted or refused."""
    listeners = [bound("server", socket.SOCK_STREAM, SERVER, port) for port in opened]
    for listener in listeners:
        listener.listen()
    ports = sorted((*opened, *silent, *others))
    probes = {port: bound("client", socket.SOCK_STREAM, CLIENT, sport + port) for port in ports}
    for port, probe in probes.items():
        probe.setblocking(False)
        probe.connect_ex((SERVER, port))
    waiting = {probes[port].fileno() for port in ports if port not in silent}
    poll = select.poll()
    for fd in waiting:
        poll.register(fd, select.POLLOUT)
    while waiting:
        answers = poll.poll(ANSWER_SECONDS * 1000)
        if not answers:
            raise NettopError(f"{len(waiting)} ports of the scan said nothing")
        for fd, _ in answers:
            poll.unregister(fd)
            waiting.discard(fd)
    for sock in (*probes.values(), *listeners):
        sock.close()


def send_unanswered(netns: str, target: str, ports: Sequence[int], size: int) -> None:
    """Send a datagram to each port and expect no answer."""
    with within(netns, lambda: socket.socket(_family(target), socket.SOCK_DGRAM)) as sock:
        for port in ports:
            sock.sendto(bytes(size), (target, port))
