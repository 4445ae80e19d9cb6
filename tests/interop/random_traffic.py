"""Seeded random traffic through the NAT world: every step is written down, so that a failure can be walked again."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from tests.interop.nat_world import (
    CLIENT4,
    CLIENT6,
    FTP_PORT,
    GATEWAY4,
    GATEWAY6,
    SERVER4,
    SERVER6,
    SILENT,
    NatWorld,
    inside,
    socket_in,
)

T = TypeVar("T")
Pair = tuple[socket.socket, socket.socket]

IPPROTO_GRE, IPPROTO_SCTP, IPPROTO_ICMPV6, IPPROTO_UNHEARD = 47, 132, 58, 99
MANY = 150  # flows of a burst
_FIRST_PORT = 30_000  # source ports of ours, so that no two flows have one tuple but on purpose
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, at once
_UDP_PORTS = (7000, 7001, 7002, 7003, 7004, 7004, 7005, 7010, 7020, 7021)
_TCP_WAYS = (
    (socket.AF_INET, SERVER4, 80),
    (socket.AF_INET, SERVER4, 83),  # SNAT
    (socket.AF_INET, SERVER4, 7006),  # masquerade, mark, label
    (socket.AF_INET, GATEWAY4, 8080),  # DNAT
    (socket.AF_INET, SERVER4, 8081),  # DNAT of the port only
    (socket.AF_INET6, SERVER6, 80),
    (socket.AF_INET6, GATEWAY6, 8080),  # DNAT
)


class Traffic:
    """Makes one step at a time. `steps` says what was done."""

    def __init__(self, world: NatWorld, seed: int) -> None:
        self.steps: list[str] = []
        self._world = world
        self._random = random.Random(seed)
        self._port = _FIRST_PORT
        self._listeners: dict[int, socket.socket] = {}
        self._tcp: list[Pair] = []
        self._half: list[Pair] = []  # shut one way
        self._udp: list[tuple[socket.socket, tuple[str, int]]] = []
        self._echo: dict[int, socket.socket] = {}
        self._made: list[list[str]] = []  # `conntrack` arguments that name a flow

    def step(self) -> None:
        """One random step."""
        names = list(_WEIGHTS)
        name = self._random.choices(names, [_WEIGHTS[one] for one in names])[0]
        self.steps.append(name)
        made: Callable[[], None] = getattr(self, name)
        made()

    def close(self) -> None:
        """Close every socket; the flows stay."""
        pairs = [end for pair in (*self._tcp, *self._half) for end in pair]
        for sock in (*pairs, *(sock for sock, _ in self._udp), *self._listeners.values(), *self._echo.values()):
            sock.close()

    def _say(self, words: object) -> None:
        self.steps[-1] += f" {words}"

    # -- TCP ---------------------------------------------------------------------------------------------------------

    def tcp_open(self) -> None:
        family, host, port = self._random.choice(_TCP_WAYS)
        self._say((host, port))
        self._tcp.append(self._connected(family, host, port))

    def tcp_data(self) -> None:
        for near, far in self._some(self._tcp, 3):
            ways = [(near, far), (far, near)]
            self._random.shuffle(ways)
            sizes = [self._random.randint(1, 20_000) for _ in range(self._random.randint(1, 2))]
            try:
                for (sender, receiver), size in zip(ways, sizes, strict=False):
                    sender.sendall(b"x" * size)
                    _read(receiver, size)
            except OSError:  # its entry was deleted, and the gateway answers for an address that was only NAT's
                self._say("broken")
                self._tcp.remove((near, far))
                near.close()
                far.close()

    def tcp_half_close(self) -> None:
        for near, far in self._taken(1):
            with suppress(OSError):  # where its entry was deleted
                near.shutdown(socket.SHUT_WR)
                far.sendall(b"still here")
            self._half.append((near, far))

    def tcp_close(self) -> None:
        for near, far in self._taken(self._random.randint(1, 2)):
            near.close()
            far.settimeout(0.3)
            with suppress(OSError):  # nothing comes where its entry was deleted
                far.recv(1)
            far.close()

    def tcp_reset(self) -> None:
        for near, far in self._taken(1):
            ends = [near, far]
            self._random.shuffle(ends)
            ends[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            ends[0].close()
            ends[1].close()

    def tcp_refused(self) -> None:
        with self._client(socket.AF_INET, socket.SOCK_STREAM) as sock, suppress(ConnectionRefusedError):
            sock.connect((SERVER4, 81))

    def tcp_unanswered(self) -> None:
        with self._client(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.setblocking(False)
            sock.connect_ex((SERVER4, SILENT))

    def tcp_same_port_again(self) -> None:
        """A connection ends in a reset and the next one has its very tuple: another life of one key."""
        near, far = self._connected(socket.AF_INET, SERVER4, 80)
        port = near.getsockname()[1]
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        near.close()
        far.close()
        if self._random.random() < 0.5:
            self._world.conntrack("-D", "-p", "tcp", "--sport", str(port), check=False)
        self._tcp.append(self._connected(socket.AF_INET, SERVER4, 80, port))

    def ftp(self) -> None:
        """A control connection that the helper reads, the expectation it makes, and mostly the expected connection."""
        near, far = self._connected(socket.AF_INET, SERVER4, FTP_PORT)
        self._tcp.append((near, far))
        passive, used = self._random.random() < 0.5, self._random.random() < 0.8
        self._say(("passive" if passive else "active", "used" if used else "unused"))
        port = self._next_port()
        where = f"{port >> 8},{port & 255}"
        ends = ((far, near, SERVER4, self._world.server), (near, far, CLIENT4, self._world.client))
        sender, receiver, host, listening = ends[0] if passive else ends[1]
        words = "227 Entering Passive Mode ({})" if passive else "PORT {}"
        line = f"{words.format(host.replace('.', ',') + ',' + where)}\r\n".encode()
        sender.sendall(line)
        _read(receiver, len(line), 30)
        if not used:
            return
        with inside(listening, lambda: socket.create_server((host, port))) as waiting:
            waiting.settimeout(30)
            other = self._world.client if passive else self._world.server
            data = socket_in(other, socket.AF_INET, socket.SOCK_STREAM)
            data.connect((host, port))
            accepted = waiting.accept()[0]
            accepted.settimeout(30)
            self._tcp.append((data, accepted))

    def _connected(self, family: int, host: str, port: int, source: int = 0) -> Pair:
        listener = self._listener({8080: 80, 8081: 80}.get(port, port))
        sock = self._client(family, socket.SOCK_STREAM, source)
        sock.connect((host, port))
        accepted = listener.accept()[0]
        accepted.settimeout(30)
        return sock, accepted

    def _listener(self, port: int) -> socket.socket:
        if port not in self._listeners:
            made = inside(
                self._world.server,
                lambda: socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64),
            )
            made.settimeout(30)
            self._listeners[port] = made
        return self._listeners[port]

    def _taken(self, most: int) -> list[Pair]:
        """Connections that are about to end."""
        taken = self._some(self._tcp, most)
        for pair in taken:
            self._tcp.remove(pair)
        return taken

    # -- UDP, ICMP and what has no ports -----------------------------------------------------------------------------

    def udp_one_way(self) -> None:
        port = self._random.choice(_UDP_PORTS)
        self._say(port)
        sock = self._client(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.append((sock, (SERVER4, port)))
        sock.sendto(b"x", (SERVER4, port))

    def udp_more(self) -> None:
        for sock, where in self._some(self._udp, 4):
            sock.sendto(b"x" * self._random.randint(0, 500), where)

    def udp_answered(self) -> None:
        six = self._random.random() < 0.4
        family, host = (socket.AF_INET6, SERVER6) if six else (socket.AF_INET, SERVER4)
        port = self._random.choice((7022, 7023) if six else (7003, 7004, 7020, 7021))
        self._say((host, port))
        with socket_in(self._world.server, family, socket.SOCK_DGRAM) as server:
            server.bind((host, port))
            sock = self._client(family, socket.SOCK_DGRAM)
            self._udp.append((sock, (host, port)))
            for _ in range(self._random.randint(1, 3)):
                sock.sendto(b"question", (host, port))
                server.sendto(b"answer", server.recvfrom(100)[1])
                sock.recv(100)

    def udp_burst(self) -> None:
        sock = self._client(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.append((sock, (SERVER4, 9000)))
        for n in range(MANY):
            sock.sendto(b"x", (SERVER4, 9000 + n))

    def udp_deleted_and_again(self) -> None:
        """A flow is deleted and the next packet makes it anew, several times at once: lives of one key in one batch."""
        sock = self._client(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.append((sock, (SERVER4, 7003)))
        for _ in range(self._random.randint(1, 4)):
            sock.sendto(b"x", (SERVER4, 7003))
            port = sock.getsockname()[1]
            self._world.conntrack("-D", "-p", "udp", "--sport", str(port), check=False)
        if self._random.random() < 0.5:
            sock.sendto(b"x", (SERVER4, 7003))

    def ping(self) -> None:
        body = struct.pack("!HH", self._random.randrange(1, 1 << 16), 1) + b"ping"
        for _ in range(self._random.randint(1, 2)):
            self._raw(socket.AF_INET, socket.IPPROTO_ICMP, _checksummed(b"\x08\0\0\0" + body), SERVER4)

    def ping6(self) -> None:
        body = struct.pack("!HH", self._random.randrange(1, 1 << 16), 1) + b"ping"
        self._raw(socket.AF_INET6, IPPROTO_ICMPV6, b"\x80\0\0\0" + body, SERVER6)

    def unheard_protocol(self) -> None:
        proto = self._random.choice((IPPROTO_GRE, IPPROTO_UNHEARD, IPPROTO_SCTP))
        self._say(proto)
        payload = {IPPROTO_GRE: b"\0\0\x08\0" + b"payload", IPPROTO_SCTP: _sctp_init(self._next_port())}
        self._raw(socket.AF_INET, proto, payload.get(proto, b"payload"), SERVER4)

    def _raw(self, family: int, proto: int, payload: bytes, host: str) -> None:
        if proto not in self._echo:
            self._echo[proto] = socket_in(self._world.client, family, socket.SOCK_RAW, proto)
        self._echo[proto].sendto(payload, (host, 0))

    # -- by the conntrack tool ---------------------------------------------------------------------------------------

    def inserted(self) -> None:
        """A flow that no packet made, of a protocol that may have no sockets here."""
        pick = self._random.choice
        ports = ["--sport", str(self._random.randrange(1, 60_000)), "--dport", "9"]
        extra = {
            "tcp": [*ports, "--state", pick(("SYN_SENT", "ESTABLISHED", "CLOSE_WAIT", "TIME_WAIT"))],
            "udp": ports,
            "udplite": ports,
            "sctp": [*ports, "--state", pick(("COOKIE_WAIT", "ESTABLISHED")), "--orig-vtag", "1", "--reply-vtag", "2"],
            "gre": ["--srckey", str(self._random.randrange(1, 60_000)), "--dstkey", "9"],
            str(IPPROTO_UNHEARD): [],
        }
        proto = pick(sorted(extra))
        a, b = (f"192.0.2.{self._random.randrange(1, 255)}" for _ in range(2))
        if self._random.random() < 0.3:
            a, b = f"2001:db8::{self._random.randrange(1, 1 << 16):x}", "2001:db8::1"
        words = ["-p", proto, "-s", a, "-d", b, *extra[proto]]
        marks = pick(([], ["-m", "7"], ["--zone", "3"], ["-m", "0xffffffff", "--zone", "65535"]))
        self._say(" ".join([*words, *marks]))
        self._world.conntrack("-I", *words, *marks, "-t", str(pick((1, 300, 300, 300))), check=False)
        self._made.append(words[:10])  # protocol, addresses, ports

    def marked(self) -> None:
        for words in self._some(self._made, 1):
            self._say(" ".join(words))
            self._world.conntrack("-U", *words, "-m", str(self._random.randrange(1, 1 << 32)), check=False)

    def deleted(self) -> None:
        for words in self._some(self._made, 2):
            self._say(" ".join(words))
            self._made.remove(words)
            self._world.conntrack("-D", *words, check=False)

    def deleted_by_kind(self) -> None:
        words = self._random.choice((["-p", "icmp"], ["-p", "udp", "--dport", "9003"], ["-p", "tcp", "--dport", "80"]))
        self._say(" ".join(words))
        self._world.conntrack("-D", *words, check=False)

    def flushed(self) -> None:
        self._world.conntrack("-F", check=False)

    # -- choices -----------------------------------------------------------------------------------------------------

    def _some(self, things: list[T], most: int) -> list[T]:
        return self._random.sample(things, min(most, len(things)))

    def _next_port(self) -> int:
        self._port += 1
        return self._port

    def _client(self, family: int, kind: int, port: int = 0) -> socket.socket:
        made = socket_in(self._world.client, family, kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((CLIENT4 if family == socket.AF_INET else CLIENT6, port or self._next_port()))
        return made


# How often each step is taken.
_WEIGHTS = {
    **{name: 6 for name in ("tcp_open", "tcp_data", "udp_one_way", "udp_answered", "udp_more", "inserted")},
    **{name: 4 for name in ("tcp_close", "ftp", "ping", "ping6", "unheard_protocol", "udp_deleted_and_again")},
    **{name: 3 for name in ("tcp_half_close", "tcp_reset", "tcp_same_port_again", "marked", "deleted")},
    **{name: 2 for name in ("tcp_refused", "tcp_unanswered", "deleted_by_kind")},
    **{name: 1 for name in ("udp_burst", "flushed")},
}


def _read(sock: socket.socket, size: int, wait_s: float = 0.3) -> None:
    sock.settimeout(wait_s)
    while size > 0:
        got = len(sock.recv(size))
        if not got:
            raise ConnectionError("it ended early")
        size -= got


def _checksummed(message: bytes) -> bytes:
    """An ICMP message with its checksum (RFC 1071) in place."""
    total = sum(struct.unpack(f"!{len(message) // 2}H", message))
    total = (total & 0xFFFF) + (total >> 16)
    return message[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + message[4:]


def _sctp_init(source: int) -> bytes:
    """An SCTP packet with one INIT chunk (RFC 9260) and its CRC32c."""
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20, 1, 65_536, 1, 1, 1)
    head = struct.pack("!HHI", source, 80, 0)
    return head + struct.pack("<I", _crc32c(head + bytes(4) + chunk)) + chunk


def _crc32c(data: bytes) -> int:
    crc = 0xFFFF_FFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F6_3B78 if crc & 1 else 0)
    return crc ^ 0xFFFF_FFFF
