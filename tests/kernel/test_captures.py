"""Captures of several devices: filters that fit not all, or that the kernel refuses; devices that come and go."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from nettop.batch import Counters, Item
from nettop.broker.client import Broker
from nettop.errors import FilterError
from nettop.pipeline.captures import CaptureRequest, close_rings
from nettop.pipeline.feeds import ROUTE_EVENTS
from nettop.pipeline.ingest import Plumbing
from nettop.pipeline.live_sources import LiveSources
from tests.kernel.commands import nettop, running
from tests.kernel.frames import ethernet, ipv4, mixed_frames, tcp, udp
from tests.kernel.live import all_are_read, injector, pcap_frames, read_until, records, tcpdump
from tests.kernel.namespaces import Lab, poll, run_in
from tests.kernel.rights import ONLY_ROOT

pytestmark = [pytest.mark.kernel, pytest.mark.one_broker]

PROTOCHAIN = "ip6 protochain 17"  # a backward jump, which bpf_check_classic refuses


def link(ns: str, *words: str) -> None:
    run_in(ns, "ip", "link", *words)


def add_ethernet(ns: str, name: str) -> None:
    """Add a device of Ethernet frames, without a peer that would be captured too."""
    link(ns, "add", name, "type", "ifb")
    link(ns, "set", name, "up")


def add_tunnel(ns: str) -> None:
    """Add a device of IP packets, or skip the test where that is not allowed."""
    if not os.access("/dev/net/tun", os.W_OK):
        pytest.skip(f"{ONLY_ROOT}/dev/net/tun is not ours")
    run_in(ns, "ip", "tuntap", "add", "dev", "tun0", "mode", "tun")
    link(ns, "set", "tun0", "up")


@pytest.fixture
def tunnel(lab: Lab) -> str:
    """A namespace with an Ethernet device and one of IP packets."""
    ns = lab.netns("t")
    add_ethernet(ns, "eth0")
    add_tunnel(ns)
    return ns


@pytest.mark.parametrize("expression", ["arp", "vlan", "ether host 02:00:00:00:00:09", "stp"])
@pytest.mark.parametrize("devices", [(), ("tun0", "eth0")])
def test_a_filter_that_fits_one_device_is_used_there_and_the_other_is_named(
    broker: Broker, tunnel: str, expression: str, devices: tuple[str, ...]
) -> None:
    live = LiveSources(broker, broker.netns(tunnel), Plumbing())
    said: list[str] = []
    live.captures.report = said.append
    rings = live.captures.open(CaptureRequest(devices, expression))
    close_rings(rings)
    assert [stream.name for stream, _ in rings] == ["eth0"]
    assert len(said) == 1
    assert said[0].startswith("device tun0 is not captured: ")


def test_a_filter_that_fits_no_device_is_an_error(broker: Broker, tunnel: str) -> None:
    live = LiveSources(broker, broker.netns(tunnel), Plumbing())
    for expression in ("tcp prot 80", "ip host"):
        with pytest.raises(FilterError):
            live.captures.open(CaptureRequest((), expression))
    with pytest.raises(FilterError):
        live.captures.open(CaptureRequest(("tun0",), "arp"))


def ipv6(protocol: int, payload: bytes, hop_by_hop: bool) -> bytes:
    if hop_by_hop:
        payload, protocol = bytes((protocol, 0, 1, 4, 0, 0, 0, 0)) + payload, 0  # RFC 8200, 4.3: PadN
    addresses = bytes.fromhex("fd00" + "00" * 13 + "01") + bytes.fromhex("fd00" + "00" * 13 + "02")
    return b"\x60\0\0\0" + len(payload).to_bytes(2, "big") + bytes((protocol, 64)) + addresses + payload


@pytest.mark.parametrize("expression", [PROTOCHAIN, "vlan and pppoes", "ip protochain 17"])
def test_what_the_kernel_refuses_is_filtered_here_as_tcpdump_does(
    broker: Broker, ends: tuple[str, str], tmp_path: Path, expression: str
) -> None:
    sent = mixed_frames()
    sent += [
        ethernet(0x86DD, ipv6(kind, one, hop))
        for kind, one in ((17, udp(53)), (6, tcp(80, 2)))
        for hop in (False, True)
    ]
    sent += [ethernet(0x8864, b"\x11\0\0\x01\0\x10\0\x21" + ipv4(17, udp(53)), tags=(5,))]
    live = LiveSources(broker, broker.netns(ends[1]), Plumbing())
    said: list[str] = []
    live.captures.report = said.append
    with ExitStack() as stack:
        [(_, ring)] = rings = live.captures.open(CaptureRequest(("veth0",), expression))
        stack.callback(close_rings, rings)
        theirs = stack.enter_context(tcpdump(ends[1], "veth0", tmp_path / "theirs.pcap", expression))
        everything = stack.enter_context(tcpdump(ends[1], "veth0", tmp_path / "all.pcap"))
        sender = stack.enter_context(injector(broker, broker.netns(ends[0]), "veth0"))
        for one in sent:
            sender.send(one)
        everything(len(sent))
        items = read_until(ring, lambda items: _received(items) is not None and all_are_read(items))
        found = records(items)
        if "vlan" not in expression:
            theirs(len(found))
    assert said == ["veth0: the kernel cannot run this filter; nettop runs it, which costs more"]
    if "vlan" in expression:  # live, libpcap 1.10's own interpreter finds no tag that the kernel took out of the frame
        argv = ["tcpdump", "-r", str(tmp_path / "all.pcap"), "-w", str(tmp_path / "theirs.pcap"), expression]
        subprocess.run(argv, check=True, capture_output=True)
    assert found == pcap_frames(tmp_path / "theirs.pcap")
    assert 0 < len(found) < len(sent)
    assert _received(items) == len(found)


def _received(items: list[Item]) -> int | None:
    return next((item.received for item in reversed(items) if isinstance(item, Counters)), None)


@pytest.fixture
def followed(broker: Broker, lab: Lab) -> Iterator[tuple[LiveSources, Plumbing, str, list[str]]]:
    """Live sources that follow devices, of a namespace with eth0."""
    ns, plumbing, said = lab.netns("f"), Plumbing(), []
    add_ethernet(ns, "eth0")
    live = LiveSources(broker, broker.netns(ns), plumbing)
    live.captures.report = said.append
    live.watch(ROUTE_EVENTS)
    yield live, plumbing, ns, said
    live.close()


def begin(live: LiveSources, request: CaptureRequest) -> None:
    live.captures.run(request, live.captures.open(request))


def test_a_device_that_comes_up_is_captured_and_one_that_comes_back_too(
    followed: tuple[LiveSources, Plumbing, str, list[str]],
) -> None:
    live, _, ns, said = followed
    begin(live, CaptureRequest())
    assert live.captures.names() == ("eth0",)
    add_ethernet(ns, "new0")
    poll(lambda: set(live.captures.names()) == {"eth0", "new0"}, what="a ring on new0")
    link(ns, "del", "new0")
    poll(lambda: live.captures.names() == ("eth0",), what="the end of new0's ring")
    add_ethernet(ns, "new0")
    poll(lambda: set(live.captures.names()) == {"eth0", "new0"}, what="a ring on the new new0")
    assert said == ["device new0 is up: captured from now on"] * 2


@pytest.mark.parametrize(
    ("word", "names"), [("eth0", {"eth0"}), ("new*", {"new0"}), ("any", {"eth0", "lo", "new0", "eth1"})]
)
def test_only_what_was_requested_is_followed(
    followed: tuple[LiveSources, Plumbing, str, list[str]], word: str, names: set[str]
) -> None:
    live, _, ns, _ = followed
    begin(live, CaptureRequest((word,)))
    add_ethernet(ns, "new0")
    add_ethernet(ns, "eth1")
    poll(lambda: set(live.captures.names()) == names, what=str(names))
    live.captures.stop()
    add_ethernet(ns, "new1")
    live.captures.look()
    assert live.captures.names() == ()


def test_a_new_device_that_the_filter_does_not_fit_is_named_once(
    followed: tuple[LiveSources, Plumbing, str, list[str]],
) -> None:
    live, _, ns, said = followed
    begin(live, CaptureRequest((), "arp"))
    add_tunnel(ns)
    for state in ("down", "up"):
        link(ns, "set", "tun0", state)
    poll(lambda: said, what="a word about tun0")
    add_ethernet(ns, "new0")
    poll(lambda: "new0" in live.captures.names(), what="a ring on new0")
    assert [text for text in said if "tun0" in text] == ["device tun0 is not captured: expression rejects all packets"]


def test_a_recording_goes_on_when_its_only_device_goes_and_has_it_when_it_comes_back(lab: Lab, tmp_path: Path) -> None:
    ns, other, out = lab.netns("r"), lab.netns("o"), tmp_path / "out.pcapng"
    lab.veth_pair(ns, other)
    with running("record", "--netns", ns, "-i", "veth0", "-w", str(out)) as recording:
        poll(lambda: _captures(ns), what="the capture")
        link(ns, "del", "veth0")
        assert b"device veth0 is gone" in recording.line(errors=True)
        lab.veth_pair(ns, other)
        assert b"device veth0 is up: captured from now on" in recording.line(errors=True)
        run_in(other, "ping", "-c", "1", "10.99.0.1")
        recording.signal()
        code, _, err = recording.end()
    assert code == 0, err
    assert nettop("read", str(out), "--filter", "icmp").stdout.count("10.99.0.1") == 2


def _captures(ns: str) -> bool:
    """A packet socket is bound to a device: packet(7)'s table has its ifindex in the column Iface."""
    return any(row.split()[4] != "0" for row in run_in(ns, "cat", "/proc/net/packet").splitlines()[1:])
