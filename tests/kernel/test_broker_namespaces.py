"""Opening namespaces by name, process and path; and letting go of them their end."""

from __future__ import annotations

import os
import queue

import pytest

from nettop.broker.client import Broker
from nettop.broker.requests import Netns
from nettop.errors import BrokerError
from nettop.kinds import TextKind
from nettop.linux.netlink import NETLINK_NETFILTER
from tests.kernel.namespaces import DEADLINE_S, Lab, add_rules, netns_path, poll, run_in

pytestmark = pytest.mark.kernel


class Ends:
    """What broker.on_gone was called with; as the app does, closes the descriptors it holds there."""

    def __init__(self, broker: Broker, descriptors: list[int]) -> None:
        self.seen: queue.Queue[tuple[Netns, str]] = queue.Queue()
        self._descriptors = descriptors
        broker.on_gone = self._gone

    def _gone(self, netns: Netns, why: str) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())
        self.seen.put((netns, why))


def devices(ns: str) -> str:
    return run_in(ns, "ip", "-br", "link")


def test_a_namespace_is_found_by_spec_path_and_process(broker: Broker, lab: Lab) -> None:
    ns = lab.netns()
    process = lab.spawn_in(ns, "sleep", "infinity")
    inode = os.stat(netns_path(ns)).st_ino
    poll(lambda: os.stat(f"/proc/{process.pid}/ns/net").st_ino == inode)
    for spec in (ns, netns_path(ns), f"pid:{process.pid}", f"/proc/{process.pid}/ns/net"):
        found = broker.netns(spec)
        assert (found.inode, found.label) == (inode, spec)


def test_the_same_spec_gives_the_same_handle(broker: Broker, lab: Lab) -> None:
    ns = lab.netns()
    assert broker.netns(ns) == broker.netns(ns)


def test_a_namespace_opened_again_is_left_without_taking_it_from_anyone_else(broker: Broker, lab: Lab) -> None:
    ns = lab.netns()
    alone = broker.netns(ns, again=True)
    shared = broker.netns(ns)
    broker.leave(alone)
    assert alone.handle != shared.handle and broker.devices(shared)


def test_our_own_namespace_is_the_empty_spec(broker: Broker) -> None:
    assert broker.netns("") == Netns(0, "", os.stat("/proc/self/ns/net").st_ino)


def test_the_names_are_those_of_ip_netns(broker: Broker, lab: Lab) -> None:
    made = {lab.netns("a"), lab.netns("b")}
    named = {ns for ns in made if "/" not in ns and ":" not in ns}
    mine = f"nt-{os.getpid()}-"  # other tests make theirs meanwhile
    assert {name for name in broker.namespaces()[0] if name.startswith(mine)} == named


def test_proc_self_means_the_app(broker: Broker) -> None:
    assert broker.netns("/proc/self/ns/net").label == f"/proc/{os.getpid()}/ns/net"


def test_devices_are_those_of_the_namespace(broker: Broker, lab: Lab) -> None:
    a, b = lab.netns("a"), lab.netns("b")
    lab.veth_pair(a, b, "left", "right")
    run_in(a, "ip", "link", "set", "left", "mtu", "1400")
    found = {device.name: device for device in broker.devices(broker.netns(a))}
    assert list(found) == ["lo", "left"]
    assert (found["left"].mtu, found["left"].up, found["left"].arphrd) == (1400, True, 1)
    assert [device.name for device in broker.devices(broker.netns(b))] == ["lo", "right"]


def test_a_deleted_namespace_is_let_go(broker: Broker, lab: Lab) -> None:
    watched, peer = lab.netns("watched"), lab.netns("peer")
    lab.veth_pair(watched, peer)
    ns = broker.netns(watched)
    dumps = broker.netlink_socket(ns, NETLINK_NETFILTER)
    events = broker.netlink_socket(ns, NETLINK_NETFILTER, groups=(1, 2, 3))
    packets = broker.packet_socket(ns, "veth0", block_count=4)
    ends = Ends(broker, [dumps.fd, events.fd, packets.fd])
    lab.remove(watched)
    assert ends.seen.get(timeout=DEADLINE_S) == (ns, "the namespace is gone")
    poll(lambda: "veth0" not in devices(peer), what="the veth to disappear")
    with pytest.raises(BrokerError, match="gone"):
        broker.devices(ns)


def test_a_namespace_deleted_under_a_running_listing_is_let_go(broker: Broker, lab: Lab) -> None:
    watched, peer = lab.netns("watched"), lab.netns("peer")
    lab.veth_pair(watched, peer)
    add_rules(watched, 9_000)
    ns = broker.netns(watched)
    from concurrent.futures import ThreadPoolExecutor

    from tests.kernel.processes import stop_a_child

    with ThreadPoolExecutor(1) as pool:
        listing = pool.submit(broker.text, ns, TextKind.NFT_RULESET)
        while not stop_a_child(broker.pid, listing.done):  # again, where it was quicker than we
            listing = pool.submit(broker.text, ns, TextKind.NFT_RULESET)
        lab.remove(watched)
        poll(lambda: "veth0" not in devices(peer), what="the veth to disappear")
        with pytest.raises(BrokerError, match="the namespace is gone"):
            listing.result(DEADLINE_S)


def test_a_namespace_of_a_process_ends_with_its_last_process(broker: Broker, lab: Lab) -> None:
    peer = lab.netns("peer")
    lab.named = False  # a namespace without a name
    watched = lab.netns("watched")
    lab.veth_pair(watched, peer)
    heir = lab.spawn_in(watched, "sleep", "infinity")
    poll(lambda: os.stat(f"/proc/{heir.pid}/ns/net").st_ino == os.stat(netns_path(watched)).st_ino)
    ns = broker.netns(watched)
    ends = Ends(broker, [])
    lab.remove(watched)
    assert broker.devices(ns), "another process keeps it alive"
    assert ends.seen.empty()
    heir.kill()
    heir.wait()
    assert ends.seen.get(timeout=DEADLINE_S) == (ns, "the namespace is gone")
    poll(lambda: "veth0" not in devices(peer), what="the veth to disappear")


def test_leaving_a_namespace_lets_its_veth_go(broker: Broker, lab: Lab) -> None:
    watched, peer = lab.netns("watched"), lab.netns("peer")
    lab.veth_pair(watched, peer)
    ns = broker.netns(watched)
    sock = broker.netlink_socket(ns, NETLINK_NETFILTER)
    broker.leave(ns)
    os.close(sock.fd)
    lab.remove(watched)
    poll(lambda: "veth0" not in devices(peer), what="the veth to disappear")


def test_a_namespace_made_again_under_the_same_name_is_another_one(broker: Broker, lab: Lab) -> None:
    spec = lab.netns("again")
    first = broker.netns(spec)
    ends = Ends(broker, [])
    lab.remove(spec)
    ends.seen.get(timeout=DEADLINE_S)
    second_spec = lab.netns("again")
    second = broker.netns(second_spec)
    assert second.handle != first.handle
    assert second.inode == os.stat(netns_path(second_spec)).st_ino
