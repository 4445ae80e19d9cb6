"""Devices of the map: counters as `ip -s -s` prints them, features as ethtool has them, queues as tc prints them."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from typing import Any

import pytest

from nettop.linux.seccomp import NUMBERS
from tests.kernel.commands import rows
from tests.kernel.namespaces import Lab, poll, run_in
from tests.kernel.rights import only_root
from tests.kernel.test_map_live import mapped

pytestmark = pytest.mark.kernel

# What is on by ethtool's netlink family, of which pyroute2 has a client; nettop asks by ioctl.
SWITCH = """
import json, sys
from pyroute2.ethtool.ethtool import Ethtool
tool, device, *off = Ethtool(), *sys.argv[1:]
found = tool.get_features(device)
for name in off:
    found.features[name].enable = False
if off:
    tool.set_features(device, found)
print(json.dumps([name for name, one in tool.get_features(device).features.items() if one.enable]))
"""
NAMES = {"rx-gro": "gro", "rx-lro": "lro", "tx-generic-segmentation": "gso"}
NAMES |= {f"tx-tcp{kind}-segmentation": "tso" for kind in ("", "6", "-ecn", "-mangleid")}


def of(printed: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = [row for row in printed if row["kind"] == kind and row["name"] == name]
    return found


def said(ns: str, device: str, *off: str) -> set[str]:
    """Switch features off, and return those that are on, in the words of ethtool(8)."""
    on = json.loads(run_in(ns, sys.executable, "-c", SWITCH, device, *off))
    return {NAMES[name] for name in on if name in NAMES}


def test_features_that_change_captures_are_those_of_ethtool(lab: Lab) -> None:
    ns = lab.netns()
    run_in(ns, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
    expected = said(ns, "v0")
    assert {"gso", "tso"} <= expected
    assert set(of(rows("map", "--netns", ns), "link", "v0")["features"]) == expected
    expected = said(ns, "v0", *(name for name, word in NAMES.items() if word in ("gso", "tso")))
    printed = rows("map", "--netns", ns)
    assert set(of(printed, "link", "v0")["features"]) == expected and not expected & {"gso", "tso"}
    assert set(of(printed, "link", "v1")["features"]) == said(ns, "v1")


def test_counters_and_their_reasons_are_those_of_ip(lab: Lab) -> None:
    here, there = lab.netns("a"), lab.netns("b")
    lab.veth_pair(here, there, "v0", "w0")
    run_in(here, "ping", "-c3", "-i0.01", "-q", "10.99.0.2")
    run_in(there, "ip", "link", "set", "w0", "address", "02:00:00:00:00:77")
    run_in(here, "ping", "-c1", "-W0.1", "-q", "10.99.0.2", check=False)  # to the MAC of before: of another host
    names = {
        "rx_otherhost": "rx_otherhost_dropped",
        "tx_collisions": "collisions",
        "tx_carrier_changes": "carrier_changes",
    }

    def same() -> dict[str, int] | None:
        """The reasons, once nothing was counted between the two readings."""
        ours = of(rows("map", "--netns", there), "link", "w0")
        (link,) = json.loads(run_in(there, "ip", "-s", "-s", "-j", "link", "show", "w0"))
        theirs = {f"{way}_{name}": value for way, stats in link["stats64"].items() for name, value in stats.items()}
        mine = {**ours["reasons"], **ours}
        equal = [
            mine.get(names.get(name, name), 0) == value for name, value in theirs.items() if name != "rx_multicast"
        ]
        return ours["reasons"] if all(equal) else None

    reasons = poll(lambda: [one for one in (same(),) if one is not None], what="equal counters")[0]
    assert reasons in ({"rx_otherhost_dropped": 1}, {}), "of a kernel before 5.19 it has none"


def test_a_queue_has_the_drops_and_the_backlog_that_tc_prints(lab: Lab) -> None:
    here, there = lab.netns("a"), lab.netns("b")
    lab.veth_pair(here, there, "v0", "w0")
    run_in(here, "tc", "qdisc", "add", "dev", "v0", "root", "tbf", "rate", "8kbit", "burst", "1600", "limit", "3000")
    with mapped(here) as shown:
        poll(lambda: (space := shown.of(here)) and any(one.kind == "tbf" for one in space.queues))
        run_in(here, "ping", "-c20", "-i0.002", "-s1000", "-q", "-W0.1", "10.99.0.2", check=False)

        def same() -> bool:
            space = shown.of(here)
            (theirs,) = [one for one in json.loads(run_in(here, "tc", "-s", "-j", "qdisc")) if one["kind"] == "tbf"]
            assert space is not None
            return [(one.drops, one.backlog) for one in space.queues if one.kind == "tbf"] == [
                (theirs["drops"], theirs["backlog"])
            ] and theirs["drops"] > 5

        poll(same, what="drops without an event")


TCX = """
import ctypes, signal, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def bpf(command, attributes):
    attributes = ctypes.create_string_buffer(attributes, len(attributes))
    result = libc.syscall(BPF, command, attributes, len(attributes))
    assert result >= 0, ctypes.get_errno()
    return result
code = ctypes.create_string_buffer(struct.pack("<BBhiBBhi", 0xB7, 0, 0, -1, 0x95, 0, 0, 0))  # return TC_ACT_UNSPEC
text = ctypes.create_string_buffer(b"GPL")
load = struct.pack("<2I2Q2IQ2I16s", 3, 2, ctypes.addressof(code), ctypes.addressof(text), 0, 0, 0, 0, 0, b"of_a_test")
fd = bpf(5, load.ljust(128, bytes(1)))
links = [bpf(28, struct.pack("<4I", fd, socket.if_nametoindex("v0"), at, 0).ljust(64, bytes(1))) for at in (46, 47)]
print("attached", flush=True)
signal.pause()
"""


@only_root("programs of BPF are the host's")
def test_programs_that_no_netlink_message_lists_are_asked_for(lab: Lab) -> None:
    ns = lab.netns()
    run_in(ns, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
    code = TCX.replace("BPF", str(NUMBERS[platform.machine()]["bpf"]))
    holder = lab.spawn_in(ns, sys.executable, "-c", code, stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"attached\n"
    printed = rows("map", "--netns", ns)
    ingress, egress = of(printed, "link", "v0")["programs"]
    assert re.fullmatch(r"tcx/ingress id \d+ of_a_test", ingress), ingress
    assert re.fullmatch(r"tcx/egress id \d+ of_a_test", egress), egress
    assert of(printed, "link", "v1")["programs"] == []
    assert not [row for row in printed if row["kind"] == "sysctl" and row["name"].startswith("programs.")]
