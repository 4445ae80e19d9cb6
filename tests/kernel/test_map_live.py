"""The map while the host changes: devices come, namespaces go, and nothing is kept alive by being looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from nettop.broker.client import Broker
from nettop.broker.requests import Netns
from nettop.broker.start import start
from nettop.decode.topology.objects import Namespace
from nettop.errors import BrokerError
from nettop.headless import map_answers, map_rules
from nettop.kinds import TextKind
from nettop.model.ruleset.ruleset import Ruleset
from nettop.model.table import ViewSpec
from nettop.model.topology.host_map import HostMap, NamespaceMap
from nettop.session.live import LiveSession
from tests.kernel.commands import nettop, rows
from tests.kernel.namespaces import Lab, poll, run_in
from tests.kernel.rights import named_namespaces, only_root

pytestmark = pytest.mark.kernel
FORWARD = "table ip t { chain f { type filter hook forward priority 0; accept\n}\n}"


class Mapped:
    """A session whose map is looked at."""

    def __init__(self, session: LiveSession) -> None:
        self.session = session

    def of(self, label: str) -> NamespaceMap | None:
        self.session.ask("map", ViewSpec(("name",), height=1000), lambda snapshot: None)
        return self.session._run.waited(lambda engine, now_ns: engine.host_map.of(label))

    def devices(self, label: str) -> set[str]:
        space = self.of(label)
        return {device.link.name for device in space.devices.values()} if space else set()


@contextmanager
def mapped(ns: str = "") -> Iterator[Mapped]:
    session = LiveSession(start("root", confine=False), ns)
    try:
        yield Mapped(session)
    finally:
        session.close()


def changes_shown(shown: Mapped, ns: str, tool: str, cases: list[tuple[str, Callable[[NamespaceMap], object]]]) -> None:
    """Run each command of ip or bridge; the map of the namespace then comes true, by an event."""
    for command, comes_true in cases:
        began = time.monotonic()
        run_in(ns, tool, *command.split())
        poll(lambda check=comes_true: (found := shown.of(ns)) and check(found), what=command)  # type: ignore[misc]
        assert time.monotonic() - began < 5.0, "not by an event: everything is read again each 60 s"


def sockets_in(ns: str) -> int:
    """How many netlink sockets of this process are in a namespace."""
    listed = {int(line.split()[-1]) for line in run_in(ns, "cat", "/proc/net/netlink").splitlines()[1:]}
    own = set[int]()
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            own.add(os.stat(f"/proc/self/fd/{number}").st_ino)
    return len(listed & own)


def test_what_changes_in_any_namespace_is_shown_at_once(lab: Lab) -> None:
    here, there = lab.netns("a"), lab.netns("b")
    with mapped(here) as shown:
        poll(lambda: shown.devices(there) == {"lo"})
        lab.veth_pair(here, there, "v0", "w0")
        began = time.monotonic()
        poll(lambda: (space := shown.of(there)) and "w0" in shown.devices(there) and len(space.addresses) > 1)
        assert time.monotonic() - began < 5.0, "not by an event: everything is read again each 60 s"
        poll(lambda: shown.session._run.waited(lambda engine, now_ns: engine.host_map.peer(here, 2)) == (there, 2))
        cases: list[tuple[str, Callable[[NamespaceMap], object]]] = [
            ("route add 10.50.0.0/16 via 10.99.0.1", lambda found: any(one.length == 16 for one in found.routes)),
            ("rule add priority 7 lookup 9", lambda found: any(one.priority == 7 for one in found.rules)),
            (
                "neighbour add 10.99.0.9 lladdr 02:00:00:00:00:09 dev w0",
                lambda found: any(one.link_address.endswith(b"\x09") for one in found.neighbours),
            ),
            ("link set w0 down", lambda found: not found.devices[2].link.up),
            ("link delete w0", lambda found: list(found.devices) == [1]),
        ]
        for command, comes_true in cases:
            run_in(there, "ip", *command.split())
            poll(lambda check=comes_true: (found := shown.of(there)) and check(found), what=command)  # type: ignore[misc]


def test_findings_follow_events_and_the_kernel_is_asked_for_the_way_back(lab: Lab) -> None:
    here, there = lab.netns("a"), lab.netns("b")
    for at in (1, 2):
        lab.veth_pair(here, there, f"up{at}", f"u{at}", (f"10.{at}.0.2/24",), (f"10.{at}.0.1/24",))
    run_in(here, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1")

    with mapped(here) as shown:

        def found() -> set[tuple[str, object]]:
            shown.of(here)
            known = shown.session._run.waited(lambda engine, now_ns: engine.map.findings(now_ns))
            return {(one.name, place["device"]) for one, _ in known if (place := dict(one.place))["netns"] == here}

        poll(lambda: (space := shown.of(here)) and "sysctls" in space.complete and not found())
        for line, comes in (
            ("link set up1 mtu 9000", {("pair-mtu", "up1")}),
            ("link set up1 mtu 1500", set()),
            ("route add default via 10.1.0.1", set()),
            ("route add default via 10.2.0.1 metric 9", {("asymmetric-route", "up2")}),
            ("rule add from 10.2.0.2 lookup 2", {("asymmetric-route", "up2")}),
            ("route add default via 10.2.0.1 table 2", set()),
        ):
            run_in(here, "ip", *line.split())
            poll(lambda comes=comes: found() == comes, what=line)  # type: ignore[misc]


def test_settings_of_bridge_ports_are_shown_at_once(lab: Lab) -> None:
    ns = lab.netns("a")
    run_in(ns, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
    filtering = subprocess.run(
        ["ip", "-n", ns, "link", "add", "br0", "type", "bridge", "vlan_filtering", "1"],
        capture_output=True,
        check=False,
    )
    if filtering.returncode:  # a kernel without CONFIG_BRIDGE_VLAN_FILTERING: tests/unit/sources has its bytes
        run_in(ns, "ip", "link", "add", "br0", "type", "bridge")
    run_in(ns, "ip", "link", "set", "v0", "master", "br0")
    cases: list[tuple[str, Callable[[NamespaceMap], object]]] = [
        ("link set dev v0 hairpin on", lambda space: ("hairpin", "on") in space.devices[port].port),
        ("link set dev v0 isolated on", lambda space: ("isolated", "on") in space.devices[port].port),
    ]
    if not filtering.returncode:
        added = lambda space: (port, 30) in [(one.ifindex, one.vlan) for one in space.vlans]  # noqa: E731
        cases.append(("vlan add dev v0 vid 30", added))
    with mapped(ns) as shown:
        poll(lambda: shown.devices(ns) >= {"v0", "br0"})
        space = shown.of(ns)
        assert space is not None
        port = next(index for index, device in space.devices.items() if device.link.name == "v0")
        changes_shown(shown, ns, "bridge", cases)


def test_counters_become_rates(lab: Lab) -> None:
    ns = lab.netns()
    with mapped() as shown:
        poll(lambda: shown.devices(ns) == {"lo"})

        def received() -> bool:
            run_in(ns, "ping", "-c1", "-q", "127.0.0.1")
            space = shown.of(ns)
            return space is not None and space.rates.get(1, (0, 0, 0))[0] > 0

        poll(received)


@named_namespaces
def test_a_namespace_that_is_deleted_is_not_kept_alive(lab: Lab) -> None:
    here, there = lab.netns("a"), lab.netns("b")
    lab.veth_pair(here, there, "v0", "w0")
    with mapped() as shown:
        poll(lambda: "w0" in shown.devices(there))
        assert sockets_in(there) >= 1
        lab.remove(there)
        began = time.monotonic()
        poll(lambda: "v0" not in run_in(here, "ip", "-br", "link"))
        assert time.monotonic() - began < 5.0
        poll(lambda: shown.of(there) is None)


@named_namespaces
def test_the_map_goes_on_when_the_shown_namespace_is_deleted(lab: Lab) -> None:
    here, there = lab.netns("a"), lab.netns("b")
    with mapped(here) as shown:
        poll(lambda: shown.devices(here) == shown.devices(there) == {"lo"})
        label = lambda: shown.session._run.waited(lambda engine, now_ns: engine.map.here())  # noqa: E731
        assert label() == here
        lab.remove(here)
        poll(lambda: shown.of(here) is None and label() == "")
        (note,) = shown.session.status().notes
        assert (
            note
            == f"namespace {here}: the namespace is gone. Its last state is shown, the map goes on; @ chooses another"
        )
        run_in(there, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        poll(lambda: shown.devices(there) == {"lo", "v0", "v1"})


def test_a_namespace_whose_last_process_ends_is_not_kept_alive(lab: Lab) -> None:
    here = lab.netns("a")
    holder = lab.spawn_in(here, "unshare", "--net", "sleep", "infinity")
    there = f"pid:{holder.pid}"
    poll(lambda: Path(f"/proc/{holder.pid}/comm").read_text() == "sleep\n")
    lab.veth_pair(here, there, "v0", "w0")
    with mapped() as shown:
        poll(lambda: "w0" in shown.devices(there))
        holder.kill()
        holder.wait()
        poll(lambda: "v0" not in run_in(here, "ip", "-br", "link"))
        poll(lambda: shown.of(there) is None)


THREAD = """
import ctypes, os, sys, threading
def enter():
    ctypes.CDLL(None).unshare(0x40000000)
    print("there", flush=True)
    sys.stdin.readline()
thread = threading.Thread(target=enter)
thread.start()
thread.join()
print("gone", flush=True)
sys.stdin.readline()
"""


def test_a_thread_alone_in_a_namespace_is_seen_and_not_held(lab: Lab) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", THREAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="ascii"
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        thread = max(map(int, os.listdir(f"/proc/{process.pid}/task")))
        label = f"/proc/{process.pid}/task/{thread}/ns/net"
        inode = os.stat(label).st_ino
        with mapped() as shown:
            poll(lambda: shown.devices(label) == {"lo"})
            space = shown.of(label)
            assert space is not None
            assert (space.namespace.inode, space.namespace.processes) == (inode, 1)
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "gone\n"
            poll(lambda: shown.of(label) is None)
        process.kill()


def test_a_descriptor_keeps_a_namespace_that_only_it_names(lab: Lab) -> None:
    code = "import ctypes, os; f = os.open('/proc/self/ns/net', 0); l = ctypes.CDLL(None); l.unshare(0x40000000)"
    code += "; g = os.open('/proc/self/ns/net', 0); l.setns(f, 0); print(g, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="ascii"
    ) as process:
        assert process.stdout is not None
        label = f"/proc/{process.pid}/fd/{process.stdout.readline().strip()}"
        (netns,) = [row for row in rows("map") if row["kind"] == "netns" and row["netns"] == label]
        assert (netns["processes"], netns["devices"], netns["refusal"]) == (0, 1, None)
        process.kill()


@only_root("mounts")
def test_a_mount_keeps_a_namespace(lab: Lab, tmp_path: Path) -> None:
    place = tmp_path / "of a pod"
    place.touch()
    subprocess.run(["unshare", f"--net={place}", "true"], check=True)
    try:
        with mapped() as shown:
            poll(lambda: shown.devices(str(place)) == {"lo"})
            subprocess.run(["umount", str(place)], check=True)
            poll(lambda: shown.of(str(place)) is None)
        subprocess.run(["unshare", f"--net={place}", "true"], check=True)
        (netns,) = [row for row in rows("map") if row["kind"] == "netns" and row["netns"] == str(place)]
        assert (netns["mounts"], netns["devices"]) == ([str(place)], 1)
        assert rows("map", "--netns", str(place))[0]["netns"] == str(place)
    finally:
        poll(lambda: not subprocess.run(["umount", str(place)], check=False).returncode)  # its last broker ends


def test_names_with_odd_bytes_are_safe(lab: Lab) -> None:
    ns = lab.netns()
    name = b"a\x1b[31m\xff"
    code = "import sys; from pyroute2 import IPRoute; IPRoute().link('add', ifname='t0', kind='veth', peer='t1')"
    run_in(ns, sys.executable, "-c", code)
    rename = f"import os; os.execvp(b'ip', [b'ip', b'link', b'set', b't0', b'name', {name!r}])"
    run_in(ns, sys.executable, "-c", rename)
    done = nettop("map", "--netns", ns)
    assert done.returncode == 0, done.stderr
    assert "a\\x1b[31m\\xff" in done.stdout
    assert "\x1b" not in done.stdout


def test_namespaces_that_vanish_before_their_rules_are_read_are_left_out(lab: Lab) -> None:
    begin = time.monotonic()
    nettop("map", "--findings")
    took = time.monotonic() - begin
    holders = [lab.spawn_in("", "unshare", "--net", "sleep", f"{took * (0.5 + n / 40):.2f}") for n in range(40)]
    done = nettop("map", "--findings")
    own = tuple(f"nettop: rules of pid:{holder.pid}:" for holder in holders)  # other tests make and end some, too
    assert done.returncode == 0 and not [line for line in done.stderr.splitlines() if line.startswith(own)]
    for holder in holders:
        holder.wait()


def ended(broker: Broker, netns: Netns) -> bool:
    try:
        broker.devices(netns)
    except BrokerError:
        return True
    return False


def test_reading_the_rules_of_a_namespace_ends_with_it(lab: Lab, broker: Broker) -> None:
    holder = lab.spawn_in("", "unshare", "--net", "sh", "-c", "nft add table ip t; exec sleep 60")
    spec = f"pid:{holder.pid}"
    listed = ("nsenter", f"--net=/proc/{holder.pid}/ns/net", "nft", "list", "tables")
    poll(lambda: subprocess.run(listed, capture_output=True, check=False).stdout == b"table ip t\n")
    netns = broker.netns(spec)

    def end(ruleset: Ruleset) -> list[TextKind]:
        holder.kill()
        holder.wait()
        poll(lambda: ended(broker, netns))
        return [TextKind.NFT_RULESET]

    with pytest.raises(BrokerError, match=r"is gone"):
        map_rules.ruleset_of(broker, netns, end)


@named_namespaces
@pytest.mark.parametrize("tries", [1, 50])
def test_of_a_namespace_made_again_while_its_rules_are_read_nothing_is_reported_as_gone(
    lab: Lab, broker: Broker, monkeypatch: pytest.MonkeyPatch, tries: int
) -> None:
    """The kernel gives one of the next the inode of the one before."""
    name = lab.netns("again")
    run_in(name, "nft", "-f", "-", stdin=FORWARD)
    inode, shared = inode_of(name), broker.netns(name)

    def again(picture: object) -> list[TextKind]:
        if not ended(broker, shared):
            lab.remove(name)
            poll(lambda: ended(broker, shared))
            lab.netns("again")
            for _ in range(tries - 1):
                if inode_of(name) != inode:
                    lab.remove(name)
                    lab.netns("again")
            run_in(name, "nft", "-f", "-", stdin=FORWARD)
        return [TextKind.NFT_RULESET]

    monkeypatch.setattr(map_answers, "words_matter", lambda facts: True)
    monkeypatch.setattr(map_answers, "missing_words", again)
    found = map_answers.rules_of(broker, HostMap(), Namespace(name, inode))
    if inode_of(name) == inode:
        assert isinstance(found, Ruleset) and [rule.text for rule in found.picture.rules] == ["accept"]
    else:
        assert found is None, "what the map knows is of another one"


def inode_of(name: str) -> int:
    return os.stat(f"/run/netns/{name}").st_ino


def test_namespaces_that_vanish_while_they_are_read_fail_nothing(lab: Lab) -> None:
    holders = [
        lab.spawn_in(lab.netns("a") if not n else "", "unshare", "--net", "sleep", str(0.2 + n / 20)) for n in range(40)
    ]
    for _ in range(2):
        done = nettop("map", "--json")
        assert (done.returncode, done.stderr) == (0, "")
        assert any(
            row["netns"] == "" and row["devices"]
            for row in map(json.loads, done.stdout.splitlines())
            if row["kind"] == "netns"
        )
    for holder in holders:
        holder.wait()


def test_ten_thousand_routes_take_less_than_a_second_of_the_broker(lab: Lab, broker: Broker) -> None:
    from nettop.broker.requests import ReadRequest

    ns = lab.netns()
    lines = "".join(f"route add 10.{n >> 8}.{n & 255}.0/24 dev lo\n" for n in range(10_000))
    run_in(ns, "ip", "-batch", "-", stdin=lines)
    netns = broker.netns(ns)
    began = time.monotonic()
    (found,) = broker.read_dumps([(netns, [ReadRequest.RTNL_ROUTES])])
    assert time.monotonic() - began < 1.0
    assert found is not None and len(found[0]) > 10_000 * 40
    assert sum(row["kind"] == "route" for row in rows("map", "--netns", ns)) > 10_000


def test_the_list_counts_no_process_of_nettop(lab: Lab, broker: Broker) -> None:
    ns = lab.netns()
    broker.netns(ns)
    listed = [json.loads(line) for line in broker.text(broker.netns(""), TextKind.NAMESPACES).splitlines()]
    (own,) = [one for one in listed if one["label"] == ""]
    assert own["pid"] not in (os.getpid(), broker.pid)
    assert [one["processes"] for one in listed if one["label"] == ns] in ([0], [1])


def test_looking_gives_no_namespace_an_id(lab: Lab, broker: Broker) -> None:
    here, there = lab.netns("a"), lab.netns("b")
    assert rows("map", "--netns", here)
    for ns in (here, there):
        assert run_in(ns, "ip", "netns", "list-id") == ""


CGROUPS = [Path("/sys/fs/cgroup", name) for name in ("", "unified", "pids")]


@contextmanager
def contained(lab: Lab, *idents: str, shared: bool = False) -> Iterator[list[int]]:
    """A process for each of these containers of docker, each in a namespace of its own, or all in that of the first."""
    root = next(one for one in CGROUPS if (one / "cgroup.procs").exists()) / f"nt-{os.getpid()}"
    holders: list[int] = []
    groups = [root / f"docker-{ident}.scope" for ident in idents]
    processes = [lab.spawn_in("", "unshare", "--net", "sleep", "infinity") for _ in idents]
    try:
        for group, holder in zip(groups, processes, strict=True):
            group.mkdir(parents=True)
            (group / "cgroup.procs").write_text(str(holder.pid))
            poll(lambda pid=holder.pid: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")  # type: ignore[misc]
            holders.append(holder.pid)
        if shared:
            for index, group in [*enumerate(groups)][1:]:
                processes[index].kill()
                processes[index].wait()
                processes[index] = lab.spawn_in(f"pid:{holders[0]}", "sleep", "infinity")
                (group / "cgroup.procs").write_text(str(processes[index].pid))
                holders[index] = processes[index].pid
        yield holders
    finally:
        for group, holder in zip(groups, processes, strict=True):
            holder.kill()
            holder.wait()
            poll(lambda group=group: not (group / "cgroup.procs").read_text())  # type: ignore[misc]
            group.rmdir()
        root.rmdir()


@only_root("a cgroup of its own")
def test_a_start_of_an_id_that_several_containers_have_is_refused_with_them(lab: Lab) -> None:
    one, other = "beef" * 16, "beef" + "ab12" * 15
    with contained(lab, one, other) as holders:
        done = nettop("flows", "--netns", "beef")
        assert done.returncode == 1
        assert f"'beef' is several containers: give the id of one: {one[:12]} (pid:{holders[0]})" in done.stderr
        assert f"{other[:12]} (pid:{holders[1]})" in done.stderr
        assert rows("map", "--netns", "beefab12")[0]["container_id"] == other


@only_root("a cgroup of its own")
def test_containers_that_share_a_namespace_are_each_found(lab: Lab) -> None:
    one, other = "0dd1" * 16, "0dd2" * 16
    with contained(lab, one, other, shared=True) as (holder, _):
        for ident in (one, other):
            (row,) = [row for row in rows("map", "--netns", ident[:12]) if row["kind"] == "netns"]
            assert (row["netns"], row["processes"]) == (f"pid:{holder}", 2)


@only_root("a cgroup of its own")
def test_a_container_is_named_by_its_id(lab: Lab) -> None:
    ident = "fedc" * 16
    with contained(lab, ident) as (holder,):
        printed = rows("map", "--netns", "fedcfedc")
        (netns,) = [row for row in printed if row["kind"] == "netns"]
        assert (netns["container"], netns["container_id"]) == (f"{ident[:12]} docker", ident)
        assert nettop("flows", "--netns", ident).returncode == 0
        done = nettop("flows", "--netns", "fedcbabe")
        assert (done.returncode, "no namespace 'fedcbabe'" in done.stderr) == (1, True)
        with mapped(ident) as shown:
            answers: list[object] = []
            shown.session.namespaces(answers.append)
            poll(lambda: answers)
            (choices,) = answers
            assert isinstance(choices, list)
            assert [(one.spec, one.note) for one in choices if one.note == "here"] == [(ident, "here")]
            assert f"pid:{holder}" not in [one.spec for one in choices]


def test_a_recording_has_the_map(lab: Lab, tmp_path: Path) -> None:
    here, there = lab.netns("a"), lab.netns("b")
    lab.veth_pair(here, there, "v0", "w0")
    file = tmp_path / "a.pcapng"
    done = nettop("record", "-w", str(file), "--duration", "4", "--netns", here)
    assert done.returncode == 0, done.stderr

    def printed(*argv: str) -> list[dict[str, object]]:
        return [
            row
            for row in rows("map", *argv)
            if row["kind"] in ("link", "address", "route", "rule") and row["netns"] == there
        ]

    replayed = printed("-r", str(file))
    live = printed()
    counters = [name for name in live[0] if name.startswith(("rx_", "tx_"))]
    for row in (*live, *replayed):
        for name in counters:
            row.pop(name, None)
    assert replayed == live


def test_sockets_are_closed_when_the_map_is_not_looked_at(lab: Lab) -> None:
    ns = lab.netns()
    before = sockets_in(ns)
    with mapped() as shown:
        poll(lambda: shown.devices(ns) and sockets_in(ns) > before)
        poll(lambda: sockets_in(ns) == before)
