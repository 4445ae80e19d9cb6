"""Sockets with their processes: what `ss` says, whoever holds the socket, and nothing a process names itself can do."""

from __future__ import annotations

import json
import os
import re
import select
import socket
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from nettop.broker.children import ChildTask
from nettop.broker.children import start as start_child
from nettop.broker.client import Broker
from nettop.broker.processes.listing import list_processes
from nettop.kinds import TextKind
from tests.kernel.namespaces import Lab, netns_path, run_in

pytestmark = [pytest.mark.kernel, pytest.mark.one_broker]

PRELUDE = """
import ctypes, os, signal, socket, sys
from socket import AF_INET as V4, AF_INET6 as V6, SOCK_STREAM as TCP, SOCK_DGRAM as UDP, SOCK_RAW as RAW
held = []
def own(family, kind, protocol=0):
    held.append(socket.socket(family, kind, protocol))
    return held[-1]
def call_me(name):
    ctypes.CDLL(None).prctl(15, name, 0, 0, 0)
def done():
    os.write(1, b"ready\\n")
    signal.pause()
"""


def holding(lab: Lab, ns: str, program: str, *before: str) -> subprocess.Popen[bytes]:
    """A process in the namespace that has run `program` and now waits."""
    code = PRELUDE + textwrap.dedent(program) + "\ndone()\n"
    process = lab.spawn_in(ns, *before, sys.executable, "-S", "-c", code, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def sockets_in(broker: Broker, ns: str) -> list[dict[str, Any]]:
    text = broker.text(broker.netns(ns), TextKind.PROCESSES)
    return [json.loads(line) for line in text.splitlines()]


def told_by_ss(ns: str) -> set[tuple[str, str, str, str | None]]:
    """(netid, local address:port, peer, "pid name" of the first process) of TCP and UDP sockets."""
    found = set()
    for line in run_in(ns, "ss", "-Htuanp").splitlines():
        word = line.split()
        holders = sorted((int(pid), name) for name, pid in re.findall(r'\("([^"]*)",pid=(\d+)', line))
        found.add((word[0], word[4], word[5], f"{holders[0][0]} {holders[0][1]}" if holders else None))
    return found


def in_words_of_ss(row: dict[str, Any]) -> tuple[str, str, str, str | None]:
    def endpoint(address: str, port: int) -> str:
        shown = f"[{address}]" if ":" in address else address
        return f"{shown}:{port or '*'}"

    netid = {6: "tcp", 17: "udp"}[row["proto"]]
    holder = None if row["pid"] is None else f"{row['pid']} {row['name']}"
    return netid, endpoint(row["local"], row["lport"]), endpoint(row["remote"], row["rport"]), holder


def test_the_sockets_and_processes_are_those_ss_lists(broker: Broker, lab: Lab) -> None:
    ns, elsewhere = lab.netns("a"), lab.netns("b")
    program = """
        listening = own(V4, TCP); listening.bind(("127.0.0.1", 8080)); listening.listen()
        own(V4, TCP).connect(("127.0.0.1", 8080)); held.append(listening.accept()[0])
        six = own(V6, TCP); six.bind(("::1", 8081)); six.listen()
        own(V6, TCP).connect(("::1", 8081)); held.append(six.accept()[0])
        own(V4, UDP).bind(("0.0.0.0", 5353)); own(V6, UDP).connect(("::1", 53)); own(V4, UDP).connect(("127.0.0.1", 53))
    """
    holding(lab, ns, program)
    holding(lab, elsewhere, "own(V4, UDP).bind(('0.0.0.0', 5353))")
    rows = sockets_in(broker, ns)
    assert {in_words_of_ss(row) for row in rows} == told_by_ss(ns)
    assert len(rows) == 9
    assert [row["lport"] for row in sockets_in(broker, elsewhere)] == [5353]


def test_a_row_has_exactly_the_promised_fields(broker: Broker, lab: Lab) -> None:
    ns = lab.netns()
    process = holding(lab, ns, "call_me(b'nginx'); s = own(V4, TCP); s.bind(('127.0.0.1', 443)); s.listen()")
    (row,) = sockets_in(broker, ns)
    inode = int(re.findall(r"\d+", os.readlink(f"/proc/{process.pid}/fd/3"))[0])
    assert list(row.items()) == [
        *(("family", 2), ("proto", 6), ("local", "127.0.0.1"), ("lport", 443), ("remote", "0.0.0.0"), ("rport", 0)),
        *(("state", 10), ("uid", 0), ("inode", inode), ("pid", process.pid), ("name", "nginx"), ("sharers", 1)),
    ]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (rb'"}\n{"pid":1', '"}\n{"pid":1'),
        (rb"\x1b[2J\r\x07", "\x1b[2J\r\x07"),
        (rb"caf\xe9\xff", r"caf\xe9\xff"),
        (rb"\xe2\x80\xae \xf0\x9f\x98\x80", "\u202e 😀"),
        (rb"((sd-pam) 1", "((sd-pam) 1"),
        (rb"", ""),
    ],
    ids=["json", "escapes", "bytes", "unicode", "parentheses", "empty"],
)
def test_a_process_may_call_itself_anything(broker: Broker, lab: Lab, given: bytes, shown: str) -> None:
    ns = lab.netns()
    program = f"call_me(b'{given.decode()}'); own(V4, UDP).bind(('127.0.0.1', 1))"
    process = holding(lab, ns, program)
    text = broker.text(broker.netns(ns), TextKind.PROCESSES)
    assert text.isascii() and text.count(b"\n") == 1 and text.decode()[:-1].isprintable()
    assert [(row["pid"], row["name"]) for row in sockets_in(broker, ns)] == [(process.pid, shown)]


def test_a_socket_is_found_in_a_process_of_another_namespace(broker: Broker, lab: Lab) -> None:
    ns, elsewhere = lab.netns("a"), lab.netns("b")
    program = f"""
        own(V4, UDP).bind(("127.0.0.1", 7000))
        other = os.open({netns_path(elsewhere)!r}, os.O_RDONLY)
        assert ctypes.CDLL(None).setns(other, 0) == 0
    """
    process = holding(lab, ns, program)
    assert os.stat(f"/proc/{process.pid}/ns/net").st_ino == os.stat(netns_path(elsewhere)).st_ino
    assert [row["pid"] for row in sockets_in(broker, ns)] == [process.pid]
    assert sockets_in(broker, elsewhere) == []


def test_of_those_that_share_a_socket_the_first_is_named_and_all_are_counted(broker: Broker, lab: Lab) -> None:
    ns = lab.netns()
    program = """
        listening = own(V4, TCP); listening.bind(("127.0.0.1", 80)); listening.listen()
        again = listening.dup()
        master = os.getpid()
        for _ in range(3):
            if os.getpid() == master and os.fork() == 0:
                ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
                signal.pause()
    """
    process = holding(lab, ns, program)
    (row,) = sockets_in(broker, ns)
    assert (row["pid"], row["sharers"]) == (process.pid, 4)


def test_ipv4_on_an_ipv6_socket_is_ipv4(broker: Broker, lab: Lab) -> None:
    ns = lab.netns()
    holding(lab, ns, "own(V6, UDP).connect(('::ffff:127.0.0.1', 99)); own(V6, UDP).bind(('::', 98))")
    rows = sockets_in(broker, ns)
    ends = {(row["family"], row["local"], row["remote"], row["rport"]) for row in rows}
    assert ends == {(2, "127.0.0.1", "127.0.0.1", 99), (10, "::", "::", 0)}


def test_raw_and_ping_sockets_are_listed_with_protocol_and_id(broker: Broker, lab: Lab) -> None:
    ns = lab.netns()
    gid = os.getgid()
    run_in(ns, "sh", "-c", f"echo {gid} {gid} > /proc/sys/net/ipv4/ping_group_range")
    program = """
        own(V4, UDP, 1).bind(("127.0.0.1", 4711)); own(V6, UDP, 58).bind(("::1", 4712))
        own(V4, RAW, 89); own(V6, RAW, 58)
    """
    process = holding(lab, ns, program)
    rows = sockets_in(broker, ns)
    kinds = {(row["family"], row["proto"], row["lport"]) for row in rows}
    assert kinds == {(2, 1, 4711), (10, 58, 4712), (2, 89, 0), (10, 58, 0)}
    assert {row["pid"] for row in rows} == {process.pid}


def test_a_long_list_is_read_to_the_end(broker: Broker, lab: Lab) -> None:
    ns = lab.netns()
    process = holding(lab, ns, "for port in range(900): own(V4, UDP).bind(('127.0.0.1', 1000 + port))")
    rows = sockets_in(broker, ns)
    assert sorted(row["lport"] for row in rows) == list(range(1000, 1900))
    assert {row["pid"] for row in rows} == {process.pid}


def test_descriptors_that_come_and_go_meanwhile_hide_no_other(broker: Broker, lab: Lab) -> None:
    ns = lab.netns()
    program = """
        import threading
        own(V4, UDP).bind(("127.0.0.1", 4000))
        def churn():
            while True:
                for held_now in [socket.socket(V4, UDP) for _ in range(200)]:
                    held_now.close()
        threading.Thread(target=churn, daemon=True).start()
        signal.signal(signal.SIGALRM, lambda *_: os._exit(0)); signal.alarm(300)
    """
    process = holding(lab, ns, program)
    for _ in range(20):
        assert [row["pid"] for row in sockets_in(broker, ns) if row["lport"] == 4000] == [process.pid]


def test_what_no_process_can_hold_is_left_out(broker: Broker, lab: Lab) -> None:
    ns = lab.netns()
    program = """
        listening = own(V4, TCP); listening.bind(("127.0.0.1", 81)); listening.listen()
        client = socket.create_connection(("127.0.0.1", 81)); client.shutdown(socket.SHUT_WR)
        server = listening.accept()[0]; server.recv(1); server.close(); client.recv(1); client.close()
    """
    holding(lab, ns, program)
    assert "TIME-WAIT" in run_in(ns, "ss", "-Htan")
    assert [(row["lport"], row["state"]) for row in sockets_in(broker, ns)] == [(81, 10)]


def test_a_process_that_cannot_be_looked_into_is_unknown(lab: Lab) -> None:
    ns = lab.netns()
    holding(lab, ns, "own(V4, UDP).bind(('127.0.0.1', 1))")
    assert pids_a_child_sees(ns, frozenset()) == [None]


def pids_a_child_sees(ns: str, capabilities: frozenset[int]) -> list[int | None]:
    """The pids that a child with these capabilities lists in the namespace."""
    netns = os.open(netns_path(ns), os.O_RDONLY)
    child = start_child(ChildTask("processes", list_processes, netns, 10, capabilities))
    os.close(netns)
    assert select.select([child.pidfd], [], [], 30)[0]
    fd = child.outcome()
    text = os.pread(fd, 1 << 20, 0)
    os.close(fd)
    return [json.loads(line)["pid"] for line in text.splitlines()]


def test_a_list_beyond_its_bound_is_refused(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    from nettop.broker.processes import listing
    from nettop.errors import BrokerError

    monkeypatch.setattr(listing, "MAX_TEXT", 100)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.bind(("127.0.0.1", 0))
        with pytest.raises(BrokerError, match="too many"):
            list_processes()
    assert capfdbinary.readouterr().out == b""
