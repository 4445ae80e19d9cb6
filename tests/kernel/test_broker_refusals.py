"""What the broker refuses, and that it goes on serving afterwards."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nettop.broker import request_json, requests, wire
from nettop.broker.client import Broker
from nettop.broker.options import Options
from nettop.broker.requests import ReadRequest, SetSysctl
from nettop.broker.start import broker_command, start
from nettop.errors import BrokerError, FilterError, NotPermitted
from nettop.kinds import TextKind
from nettop.linux.netlink import NETLINK_NETFILTER
from tests.kernel.live import sysctl
from tests.profiles import examples

pytestmark = pytest.mark.kernel

OPEN: dict[str, object] = {"netns": 0, "protocol": 12, "groups": [], "rcvbuf": 1, "program": ""}
ACCT = "net.netfilter.nf_conntrack_acct"


@pytest.fixture
def raw() -> Iterator[socket.socket]:
    """The app's end of a broker's socket, after its hello."""
    ours, theirs = wire.pair()
    with theirs:
        process = subprocess.Popen(broker_command(Options()), stdin=theirs.fileno())
    ours.settimeout(30)
    assert wire.receive(ours) is not None
    try:
        yield ours
    finally:
        ours.close()
        assert process.wait(30) == 0


def answer(sock: socket.socket) -> dict[str, object]:
    received = wire.receive(sock)
    assert received is not None
    return received[0]


def error_of(message: dict[str, object]) -> str:
    error = message["error"]
    assert isinstance(error, dict)
    return str(error["what"])


def still_serves(sock: socket.socket) -> bool:
    wire.send(sock, {"id": 99, "ask": "GetNetns", "spec": "", "again": False})
    return "body" in answer(sock)


@pytest.mark.parametrize(
    "message",
    [
        {"id": 1, "ask": "Execute", "argv": ["/bin/sh"]},
        {"id": 1, "ask": "OpenOutput", "path": "/tmp/x.pcapng", "force": True},
        {"id": 1, "ask": "OpenNetlinkSocket", **OPEN, "protocol": 9},
        {"id": 1, "ask": "OpenNetlinkSocket", **OPEN, "groups": [4000000000]},
        {"id": 1, "ask": "OpenNetlinkSocket", **OPEN, "program": "BgAA"},
        {"id": 1, "ask": "OpenSysctl", "netns": 0, "name": "kernel.core_pattern"},
        {"id": 1, "ask": "OpenSysctl", "netns": 0, "name": "net.netfilter.nf_../../../../etc/shadow"},
        {"id": 1, "ask": "SetSysctl", "netns": 0, "name": "net.ipv4.ip_forward", "value": "1"},
        {"id": 1, "ask": "SetSysctl", "netns": 0, "name": ACCT, "value": "1\n"},
        {"id": 1},
    ],
    ids=lambda message: str(message.get("ask")),
)
def test_a_request_not_on_the_list_is_refused_and_the_broker_lives_on(
    raw: socket.socket, message: dict[str, object]
) -> None:
    wire.send(raw, message)
    refusal = answer(raw)
    assert refusal["id"] == 1
    assert "not on the list" in error_of(refusal)
    assert still_serves(raw)


@pytest.mark.parametrize(
    "payload",
    [b"\xff\x00", b"[]", b"[" * 50_000, b'{"id":1', b"x" * 100_000, json.dumps({"ask": "a" * 60_000}).encode()],
    ids=["bytes", "list", "deep", "cut", "oversized", "long name"],
)
def test_a_malformed_message_is_refused_and_the_broker_lives_on(raw: socket.socket, payload: bytes) -> None:
    raw.send(payload)
    assert error_of(answer(raw))
    assert still_serves(raw)


numbers = st.integers(-5, 5) | st.integers()
maybe = st.none() | numbers
words = st.text(max_size=12) | st.sampled_from(
    ["lo", "pid:1", "/proc/1/ns/net", "/dev/null", ".", "a/b", "\ud800", "\0"]
)
own = st.just(0)
protocols = st.sampled_from([0, 12])
programs = st.just(b"") | st.binary(max_size=24)
dump_filters = st.none() | st.builds(requests.DumpFilter, numbers, maybe, maybe, numbers, maybe, maybe)
set_names = st.none() | st.builds(requests.SetName, numbers, words, words)
addresses = words | st.sampled_from(["192.0.2.1", "2001:db8::1"])
flow_keys = st.builds(
    requests.FlowKey, st.sampled_from([2, 10]), numbers, numbers, addresses, addresses, numbers, numbers, maybe
)
groups = words | st.sampled_from(["nft-counter", "nft-quota", "nfacct"])
well_typed = st.one_of(
    st.builds(requests.GetNetns, words),
    st.builds(requests.LeaveNetns, numbers),
    st.builds(requests.GetDevices, numbers),
    st.builds(requests.OpenPacketSocket, numbers, words, words, numbers, numbers, numbers),
    st.builds(requests.OpenNetlinkSocket, numbers, numbers, st.tuples(numbers, numbers), numbers, programs),
    st.builds(requests.OpenNetlinkSocket, st.just(0), protocols, st.just(()), numbers, programs),
    st.builds(requests.SendRead, st.integers(0, 4), st.sampled_from(requests.ReadRequest), dump_filters, set_names),
    st.builds(requests.ReleaseSocket, numbers),
    st.builds(requests.GetText, numbers, st.sampled_from(TextKind)),
    st.builds(requests.OpenSysctl, numbers, words),
    st.builds(requests.SetSysctl, numbers, words, words),
    st.builds(requests.DeleteFlows, own, st.tuples(flow_keys, flow_keys)),
    st.builds(requests.ResetCounter, own, st.builds(requests.CounterName, groups, numbers, words, words)),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=examples(200))
@given(request_=well_typed)
def test_well_typed_requests_with_any_values_are_answered(raw: socket.socket, request_: requests.Request) -> None:
    wire.send(raw, {"id": 1, **request_json.to_json(request_)})
    received = wire.receive(raw)
    assert received is not None
    message, fds = received
    for fd in fds:
        os.close(fd)
    assert message["id"] == 1
    assert ("body" in message) != ("error" in message)


def test_descriptors_sent_to_the_broker_are_refused(raw: socket.socket) -> None:
    wire.send(raw, {"id": 1, "ask": "GetNetns", "spec": "", "again": False}, [raw.fileno()])
    assert "descriptors" in error_of(answer(raw))
    assert still_serves(raw)


def test_the_broker_without_a_socket_says_so() -> None:
    done = subprocess.run(
        broker_command(Options()), stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr == b"nettop.broker is started by nettop, with a socket as its stdin\n"


def test_read_only_refuses_a_change_and_leaves_the_value(netns: Callable[..., str], run_in: Callable[..., str]) -> None:
    ns = netns()
    path = f"/proc/sys/{ACCT.replace('.', '/')}"
    before = run_in(ns, "cat", path)
    with start("root", allowed=Options(read_only=True), confine=False) as broker:
        handle = broker.netns(ns).handle
        with pytest.raises(NotPermitted, match="--read-only"):
            broker.change(SetSysctl(handle, ACCT, "1"))
    assert run_in(ns, "cat", path) == before


def test_a_change_is_made_in_that_namespace_only_and_gives_its_undo(
    broker: Broker, netns: Callable[..., str], run_in: Callable[..., str]
) -> None:
    here, elsewhere = netns("a"), netns("b")
    path = f"/proc/sys/{ACCT.replace('.', '/')}"
    untouched = run_in(elsewhere, "cat", path)
    handle = broker.netns(here).handle
    undo = broker.change(SetSysctl(handle, ACCT, "1"))
    assert run_in(here, "cat", path) == "1\n"
    assert run_in(elsewhere, "cat", path) == untouched
    broker.change(undo)
    assert run_in(here, "cat", path).strip() == undo.value


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("nt-no-such-name", "no namespace 'nt-no-such-name'"),
        ("pid:4000000000", "no process 4000000000"),
        ("pid:x", "no process x"),
        ("..", "no namespace|not a network namespace"),
        ("/etc/passwd", "not a network namespace"),
        ("/proc/self/ns/mnt", "not a network namespace"),
        ("/nowhere/at/all", "not a network namespace"),
        ("a\0b", "no namespace"),
    ],
)
def test_what_is_no_namespace_is_an_error_with_a_remedy(broker: Broker, spec: str, says: str) -> None:
    with pytest.raises(BrokerError, match=says):
        broker.netns(spec)
    assert broker.devices(broker.netns(""))


def test_what_root_alone_may_see_is_not_told(broker: Broker, tmp_path: Path) -> None:
    """Neither whether a file is there, nor a sysctl that is a secret."""
    (tmp_path / "there").touch()
    said = []
    for name in ("there", "gone"):
        with pytest.raises(BrokerError) as refused:
            broker.netns(f"{tmp_path}/{name}")
        said.append(str(refused.value).replace(name, "…"))
    assert said[0] == said[1]
    assert sysctl(broker, broker.netns(""), "net.ipv4.tcp_fastopen").isdecimal()
    with pytest.raises(BrokerError, match=r"no sysctl net.ipv4.tcp_fastopen_key for all to read"):
        sysctl(broker, broker.netns(""), "net.ipv4.tcp_fastopen_key")


def test_a_path_that_would_block_when_opened_is_refused_at_once(
    broker: Broker, tmp_path_factory: pytest.TempPathFactory
) -> None:
    fifo = tmp_path_factory.mktemp("fifo") / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(BrokerError, match="not a network namespace"):
        broker.netns(str(fifo))


def test_an_unknown_device_is_an_error_that_names_those_there(broker: Broker, netns: Callable[..., str]) -> None:
    with pytest.raises(BrokerError, match=r"no device 'eth9': there are lo"):
        broker.packet_socket(broker.netns(netns()), "eth9")


def test_names_that_an_error_tells_of_cannot_drive_the_terminal(
    broker: Broker, netns: Callable[..., str], run_in: Callable[..., str]
) -> None:
    """A device's name is any container's choice."""
    ns = netns("esc\x1b[2J")
    run_in(ns, "ip", "link", "add", "d\x1b[2J", "type", "veth", "peer", "name", "peer")
    with pytest.raises(BrokerError) as no_device:
        broker.packet_socket(broker.netns(ns), "eth9")
    with pytest.raises(BrokerError) as no_namespace:
        broker.netns("nt-no-such-name")
    assert r"d\x1b[2J" in str(no_device.value)
    assert str(no_device.value).isprintable() and str(no_namespace.value).isprintable()


def test_a_capture_filter_that_does_not_parse_is_an_error_with_a_caret(broker: Broker) -> None:
    with pytest.raises(FilterError) as failed:
        broker.packet_socket(broker.netns(""), "lo", expression="tcp prot 80")
    assert "^" in failed.value.caret()


@pytest.mark.parametrize("ring", [{"block_size": 1000}, {"block_count": 0}, {"block_count": 1 << 20}, {"snaplen": 0}])
def test_a_ring_that_cannot_be_is_refused(broker: Broker, ring: dict[str, int]) -> None:
    with pytest.raises(BrokerError, match="not possible"):
        broker.packet_socket(broker.netns(""), "lo", **ring)  # type: ignore[arg-type]


def test_a_dump_on_an_event_socket_is_refused(broker: Broker) -> None:
    sock = broker.netlink_socket(broker.netns(""), NETLINK_NETFILTER, groups=(1, 2, 3))
    with pytest.raises(BrokerError, match="no such socket"):
        broker.request(sock, ReadRequest.CONNTRACK_DUMP)
    os.close(sock.fd)
