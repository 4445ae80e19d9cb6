"""Every lab that this kernel can have: it is what its commands say, its facts hold, its traffic flows."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nettop.broker.identity import can_change_ids
from nettop.labs.catalogue import LABS
from nettop.labs.client import Demo
from nettop.labs.lab import Fact, Lab
from tests.kernel.commands import NOBODY, ROOT, command, nettop
from tests.kernel.namespaces import poll
from tests.kernel.processes import children_of
from tests.kernel.pty_terminal import terminal
from tests.kernel.rights import only_root, other_users, tun_devices
from tests.kernel.test_demo import _POWERLESS, ORDINARY, alive, family

pytestmark = pytest.mark.kernel

_KIND = re.compile(r" link add .* type (\w+)")


def kinds(lab: Lab) -> set[str]:
    """Return the kinds of devices that a lab makes."""
    return set(_KIND.findall(lab.script()))


def is_missing(kind: str) -> bool:
    argv = ["unshare", "--net", "ip", "link", "add", "nt0", "type", kind]
    return "Unknown device type" in subprocess.run(argv, capture_output=True, text=True, check=False).stderr


MISSING = {kind for kind in set().union(*map(kinds, LABS.values())) if is_missing(kind)}
WITH_KINDS = [name for name, lab in LABS.items() if not kinds(lab) & MISSING]
WITHOUT = [name for name, lab in LABS.items() if kinds(lab) & MISSING]
HERE = [pytest.param(name, marks=tun_devices) if name == "tun" else name for name in WITH_KINDS]


@dataclass(frozen=True, slots=True)
class Built:
    """A lab, and the process in whose namespaces it is."""

    lab: Lab
    pid: int

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command where the lab is."""
        inside = ["nsenter", "-t", str(self.pid), "--mount", "--net", "--pid", "--", *argv]
        return subprocess.run(inside, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)

    def holds(self, fact: Fact) -> bool:
        done = self.run(*shlex.split(fact.command))
        return (done.returncode != 0) == fact.fails and re.search(fact.prints, done.stdout, re.M) is not None


@pytest.fixture(scope="module", params=HERE)
def built(request: pytest.FixtureRequest) -> Iterator[Built]:
    demo = Demo(request.param, confine=False)
    with demo:
        yield Built(LABS[request.param], children_of(demo._process.pid)[0])


def test_it_is_built_within_seconds(built: Built) -> None:
    """Counted in CPU time of the lab's first process and the commands it ran: the machine may be busy."""
    fields = Path(f"/proc/{built.pid}/stat").read_text().rpartition(")")[2].split()
    assert sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK") < 3


def test_its_facts_hold(built: Built) -> None:
    facts = built.lab.facts
    with ThreadPoolExecutor(len(facts)) as pool:
        works = [fact for fact in facts if not fact.fails]
        for held in [pool.submit(poll, lambda fact=fact: built.holds(fact), what=fact.command) for fact in works]:
            held.result()
        failing = [fact for fact in facts if fact.fails]
        assert list(pool.map(built.holds, failing)) == [True] * len(failing), failing


# -- the same by hand -------------------------------------------------------------------------------------------------

_STATE = (
    "ip -n {} -d -j link",
    "ip -n {} -j addr",
    "ip -n {} -j route show table all",
    "ip -n {} -j -6 route show table all",
    "ip -n {} -j rule",
    "ip netns exec {} bridge -d -j link",
    "ip netns exec {} bridge -j vlan",
    "ip netns exec {} nft -j -s list ruleset",
    "ip netns exec {} iptables-save",
    "ip netns exec {} iptables-legacy-save",
    "ip netns exec {} sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding net.netfilter.nf_conntrack_acct",
)
# What is chosen at random, counts, or depends on a program that holds the device.
_VARIES = re.compile(
    r".*_timer$|.*_n_(learned|groups)$|.*_id$|.*netnsid$|(root_|bridge_)?address$|permaddr$|broadcast$|group_addr$|.*index$|flags$|operstate$"
    r"|handle$|metainfo$|bytes$|packets$|used$|num_[rt]x_queues$|valid_life_time$|preferred_life_time$"
    r"|inet6_addr_gen_mode$"
)


def varies(value: Any) -> bool:
    """Return whether it is a link-local address, a route to one, or a route of all multicast."""
    ends = [str(value.get(key, "")) for key in ("local", "dst")] if isinstance(value, dict) else []
    return any(end.startswith(("fe80:", "ff00::/8")) for end in ends)


def steady(value: Any) -> Any:
    """Return an output of JSON without what varies, in one order."""
    if isinstance(value, dict):
        if "size" in value:  # a set that rules fill
            value = value | {"elem": []}
        return {key: steady(item) for key, item in value.items() if not _VARIES.match(key)}
    if isinstance(value, list):
        items = [steady(item) for item in value if not varies(item)]
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
    return value


def state(run: Any, lab: Lab) -> dict[str, Any]:
    """Return the answer of every tool in every namespace."""
    found = {}
    for line in (line.format(name) for name in lab.namespaces for line in _STATE):
        out = run(*shlex.split(line)).stdout
        text = re.sub(r"#.*\n|\[\d+:\d+\]", "", out)
        found[line] = steady(json.loads(out)) if " -j " in line and out else text
    return found


def test_its_commands_typed_by_hand_build_the_same(built: Built) -> None:
    script = nettop("demo", built.lab.name, "--show").stdout
    world = "mount -t tmpfs none /run && mkdir /run/netns && sh -es && echo built && exec sleep infinity"
    argv = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", world]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(script)
            process.stdin.close()
            assert process.stdout.readline() == "built\n"
            typed = Built(built.lab, children_of(process.pid)[0])
            by_hand, by_us = state(typed.run, built.lab), state(built.run, built.lab)
            different = [line for line in by_us if by_us[line] != by_hand[line]]
            assert not different, [(by_us[line], by_hand[line]) for line in different[:1]]
            assert by_us[f"ip -n {built.lab.opens} -d -j link"]
        finally:
            process.kill()


# -- what the app shows -----------------------------------------------------------------------------------------------


def test_flows_packets_and_chains_have_something_where_the_app_opens(built: Built) -> None:
    netns = ("--netns", built.lab.opens)

    def rows(*argv: str) -> list[dict[str, Any]]:
        done = built.run(*command(*argv, "--json", *netns))
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def received() -> int:
        links = json.loads(built.run("ip", "-n", built.lab.opens, "-s", "-j", "link").stdout)
        return sum(link["stats64"]["rx"]["packets"] for link in links if link["ifname"] != "lo")

    poll(lambda: [row for row in rows("flows") if row["packets"]], what="a flow that counts")
    poll(lambda: [row for row in rows("rules") if row["kind"] == "rule" and row["packets"]], what="a rule that counts")
    before = received()
    poll(lambda: received() > before, what="packets")


_VETH = re.compile(r"ip -n (\S+) link add (\S+) type veth peer name (\S+) netns (\S+)")
_UPPER = re.compile(r"ip -n (\S+) link add (\S+) netns (\S+) link (\S+) type (\w+) mode (\w+)")


def test_the_map_says_what_the_lab_declares_and_ip_prints(built: Built) -> None:
    done = built.run(*command("map", "--json"))
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    listed = {row["netns"] for row in rows if row["kind"] == "netns"}
    assert {label for label in listed if "/" not in label} == {"", *built.lab.namespaces}  # other tests have mounts
    links = {(row["netns"], row["name"]): row for row in rows if row["kind"] == "link" and row["netns"]}
    printed = {}
    for name in built.lab.namespaces:
        for link in json.loads(built.run("ip", "-n", name, "-d", "-j", "link").stdout):
            printed[name, link["ifname"]] = (link.get("linkinfo", {}).get("info_kind"), link.get("master"), link["mtu"])
    assert {key: (row["link_kind"], row["master"], row["mtu"]) for key, row in links.items()} == printed
    for netns, device, peer, other in _VETH.findall(built.lab.script()):
        assert (links[netns, device]["peer"], links[netns, device]["peer_netns"]) == (peer, other)
        assert (links[other, peer]["peer"], links[other, peer]["peer_netns"]) == (device, netns)
    for below, device, netns, lower, kind, mode in _UPPER.findall(built.lab.script()):
        row = links[netns, device]
        assert [row[key] for key in ("link_kind", "mode", "lower", "lower_netns")] == [kind, mode, lower, below]
    if built.lab.name == "tun":
        assert all(links["box", device]["owner"].startswith("python[") for device in ("tun0", "tap0"))


def test_the_map_finds_what_the_lab_shows_and_nothing_that_its_facts_refute(built: Built) -> None:
    """In macvlan-vepa the lower device is behind the hairpin port: the children reach its address."""
    done = built.run(*command("map", "--findings", "--json"))
    assert done.returncode == 0, done.stderr
    found = {json.loads(line)["name"] for line in done.stdout.splitlines()}
    cut_off = built.lab.name in ("macvlan-private", "macvlan-bridge", "macvtap")
    assert found == ({"parent-address"} if cut_off else set()), done.stdout


OPENED = {"vxlan": "10.0.0.2", "router": "198.51.100.4", "macvlan-vepa": "10.0.0.10", "vm-host": "192.168.122.2"}


@pytest.mark.parametrize("name", OPENED)
def test_the_app_opens_in_the_lab_and_says_what_to_look_at(name: str) -> None:
    with terminal("demo", name, env={"HOME": "/"}, size=(40, 160)) as screen:
        poll(lambda: screen.shows(LABS[name].look), what="the line")
        poll(lambda: screen.shows(OPENED[name]), what="its flows")
        assert screen.shows("DEMO")
        screen.key("3")
        poll(lambda: screen.shows("POSTROUTING"), what="its chains")
        assert screen.quit() == 0
    assert b"Traceback" not in screen.drawn


# -- where it cannot be built, and what is left -----------------------------------------------------------------------


@pytest.mark.parametrize("name", WITHOUT)
def test_a_lab_of_devices_that_this_kernel_lacks_names_their_kind(name: str) -> None:
    done = nettop("demo", name)
    (kind,) = kinds(LABS[name]) & MISSING
    assert done.returncode == 1
    assert done.stderr == f"nettop: this kernel has no {kind} devices: the lab needs a kernel that has them\n"


_BUILD = (
    "import sys; from nettop.labs.client import Demo\nwith Demo(sys.argv[1]) as broker: print(*broker.namespaces()[0])"
)


@other_users
@pytest.mark.parametrize("name", [name for name in WITH_KINDS if name != "tun"])
def test_an_ordinary_user_has_the_lab_too(name: str) -> None:
    argv = [*NOBODY, sys.executable, "-c", _BUILD, name]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == sorted(LABS[name].namespaces), done.stderr


@only_root("it makes a device file")
@pytest.mark.skipif(not can_change_ids(), reason="there are no other users")
def test_a_user_who_may_not_open_a_lab_s_device_is_told_to_use_sudo() -> None:
    script = 'mount -t tmpfs -o mode=755 none /dev/net && mknod -m 600 /dev/net/tun c 10 200 && exec "$@"'
    done = nettop("demo", "tun", before=("unshare", "--mount", "sh", "-c", script, "sh", *NOBODY))
    assert done.returncode == 4
    assert done.stderr == (
        "nettop: the lab cannot be built: ip -n box tuntap add dev tun0 mode tun: open: Permission denied: "
        "run `sudo nettop demo tun`\n"
    )


def test_where_users_may_not_have_namespaces_a_lab_without_a_recording_says_so_and_what_to_do() -> None:
    script = f"echo 0 > /proc/sys/user/max_user_namespaces && {_POWERLESS}"
    done = nettop("demo", "veth", before=(*ORDINARY, script, "sh"), NETTOP_COMMAND="./dev run")
    assert done.returncode == 4
    assert done.stderr == (
        "nettop: this host denies user namespaces to ordinary users (user.max_user_namespaces=0): "
        "run `sudo ./dev run demo veth`\n"
    )


@pytest.mark.parametrize("name", ["macvtap", "vm-host"])
def test_a_killed_lab_leaves_nothing(name: str) -> None:
    def taps() -> set[str]:
        return {file for file in os.listdir("/dev") if file.startswith("tap")}

    before = taps()
    with terminal("demo", name, env={"HOME": "/"}) as screen:
        poll(lambda: screen.shows("DEMO"))
        processes = family(screen.process.pid)
        screen.process.send_signal(signal.SIGKILL)
        screen.end()
    poll(lambda: not alive(processes), what="all its processes are gone")
    poll(lambda: taps() <= before, what="its device files are gone")
