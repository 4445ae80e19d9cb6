"""Devices whose names are any bytes, and links that go down and up, under a confined `nettop record`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from nettop.broker.client import Broker
from nettop.errors import BrokerError
from nettop.model.filter.expression import parse
from nettop.model.traces.match import matches
from tests.kernel.commands import command, environment, nettop, running, size_of
from tests.kernel.namespaces import Lab, command_in, poll, run_in

pytestmark = pytest.mark.kernel

ODD = b"\xff\xfe"


@pytest.fixture
def odd(lab: Lab) -> tuple[str, str]:
    """Two namespaces that ping each other; the device of the first has a name that is not UTF-8."""
    here, there = lab.netns("a"), lab.netns("b")
    lab.veth_pair(here, there)
    for words in (b"link set veth0 down", b"link set veth0 name \xff\xfe", b"link set \xff\xfe up"):
        subprocess.run([*command_in(here, "ip"), *words.split()], check=True)
    return here, there


def packets(path: Path) -> list[str]:
    done = nettop("read", str(path), "--filter", "icmp and net 10.99.0.0/24")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("chosen", [[], ["-i", ODD], ["-i", rb"\xff\xfe"], ["-i", ODD, "-f", "icmp"]])
def test_a_device_name_that_is_not_utf8_is_captured_and_shown_as_bytes(
    odd: tuple[str, str], tmp_path: Path, chosen: list[bytes | str]
) -> None:
    path = tmp_path / "r.pcapng"
    argv = [*command("record", "-w", str(path), "--netns", odd[0]), *chosen]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, env=environment(), cwd="/") as recording:
        poll(lambda: size_of(path) > 1000, what="the recording")
        run_in(odd[1], "ping", "-c", "3", "-i", "0.2", "10.99.0.1")
        recording.send_signal(2)
        said = recording.communicate(timeout=30)[1].decode()
    assert recording.returncode == 0, said
    assert len(packets(path)) == 6
    assert all(r" \xff\xfe " in line for line in packets(path))


@pytest.mark.parametrize("name", [b"\xff1", ODD * 5])
def test_it_is_traced_from_its_ingress_on(odd: tuple[str, str], broker: Broker, name: bytes) -> None:
    here, there = odd
    for words in (b"link set \xff\xfe down", b"link set \xff\xfe name " + name, b"link set " + name + b" up"):
        subprocess.run([*command_in(here, "ip"), *words.split()], check=True)
    icmp = matches(parse("icmp", "trace"))  # type: ignore[arg-type]
    number, table = broker.start_trace(broker.netns(here), icmp, ingress=True)
    poll(lambda: "1 received" in run_in(there, "sh", "-c", "ping -c 1 -W 1 10.99.0.1 || true"))
    listed = command_in(here, "nft", "list", "table", "netdev", table)
    counted = subprocess.run(listed, check=True, capture_output=True).stdout
    broker.stop_trace(number)
    assert counted.count(b"counter packets 0") < counted.count(b"counter packets")


def test_its_name_in_lists_and_errors_is_the_same(odd: tuple[str, str], broker: Broker) -> None:
    ns = broker.netns(odd[0])
    assert [device.name for device in broker.devices(ns)] == ["lo", r"\xff\xfe"]
    with pytest.raises(BrokerError, match=r"there are lo, \\xff\\xfe"):
        broker.packet_socket(ns, "eth9")
    os.close(broker.packet_socket(ns, r"\xff\xfe", block_size=1 << 16, block_count=4).fd)


def test_a_link_that_goes_down_and_up_only_pauses_a_confined_capture(lab: Lab, tmp_path: Path) -> None:
    here, there = lab.netns("a"), lab.netns("b")
    lab.veth_pair(here, there)
    path = tmp_path / "r.pcapng"
    with running("record", "-w", str(path), "--netns", here, "-i", "veth0") as recording:
        poll(lambda: size_of(path) > 1000, what="the recording")
        for _ in range(2):
            run_in(there, "ping", "-c", "1", "10.99.0.1")
            run_in(here, "ip", "link", "set", "veth0", "down")
            before = size_of(path)
            poll(lambda before=before: size_of(path) > before, what="the recording to go on")
            run_in(here, "ip", "link", "set", "veth0", "up")
            poll(lambda: run_in(there, "ping", "-c", "1", "-W", "1", "10.99.0.1", check=False).count(" 0% packet loss"))
        recording.signal()
        code, _, said = recording.end()
    assert code == 0 and "gone" not in said
    assert len(packets(path)) >= 8
