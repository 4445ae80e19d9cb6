"""The map of a host with something missing: no names, no rights, a container that is stopped, names with odd bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nettop.broker.client import Broker
from nettop.errors import EXIT_FAILED
from nettop.model.map.lists import MapLists
from nettop.model.table import ViewSpec
from tests.kernel.commands import nettop, rows
from tests.kernel.map_state import engine_with
from tests.kernel.namespaces import Lab, netns_path, poll, run_in
from tests.kernel.rights import named_namespaces, only_root
from tests.kernel.test_map_live import contained, mapped

pytestmark = pytest.mark.kernel

WITHOUT_NAMES = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run && exec "$@"', "sh"]


def without_names(*argv: str) -> subprocess.CompletedProcess[str]:
    """Run nettop where there is no /run/netns."""
    command = [*WITHOUT_NAMES, sys.executable, "-m", "nettop", *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_host_without_run_netns_has_a_map(lab: Lab) -> None:
    holder = lab.spawn_in("", "unshare", "--net", "sleep", "infinity")
    poll(lambda: Path(f"/proc/{holder.pid}/comm").read_text() == "sleep\n")
    done = without_names("map", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    labels = {row["netns"] for row in map(json.loads, done.stdout.splitlines()) if row["kind"] == "netns"}
    assert {"", f"pid:{holder.pid}"} <= labels
    done = without_names("map", "--netns", "none")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (EXIT_FAILED, "", 1)
    assert done.stderr.startswith("nettop: no namespace 'none'")


@only_root("a cgroup of its own")
def test_a_container_that_is_stopped_while_it_is_watched_ends_the_view_and_is_let_go(lab: Lab) -> None:
    ident, peer = "cafe" * 16, lab.netns("peer")
    with contained(lab, ident) as (holder,):
        lab.veth_pair(peer, f"pid:{holder}", "v0", "eth0")
        with mapped("cafecafe") as shown:
            poll(lambda: "eth0" in shown.devices(f"pid:{holder}"))
            (process,) = [one for one in lab._processes if one.pid == holder]
            process.kill()
            process.wait()
            poll(lambda: shown.session.status().mode == "GONE")
            poll(lambda: "v0" not in run_in(peer, "ip", "-br", "link"), what="the namespace to end with its veth")
            poll(lambda: shown.of(f"pid:{holder}") is None)
        done = nettop("flows", "--netns", "cafecafe")
        assert (done.returncode, len(done.stderr.splitlines())) == (EXIT_FAILED, 1)


def test_a_namespace_that_may_not_be_entered_is_listed_with_the_reason(lab: Lab) -> None:
    """The broker is root in a user namespace of its own: that of this process is not its to enter."""
    inode = os.stat("/proc/self/ns/net").st_ino
    command = ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-m", "nettop", "map", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found = [row for row in map(json.loads, done.stdout.splitlines()) if row["kind"] == "netns"]
    assert [row["refusal"] for row in found if row["inode"] == inode and row["netns"]] in (
        [],
        ["Operation not permitted"],
    )
    assert [row["refusal"] for row in found if row["netns"] == ""] == [None]
    assert all(row["refusal"] for row in found if row["devices"] is None)


@only_root("a name in /run/netns")
@named_namespaces
@pytest.mark.parametrize("odd", [b"\xff\xfe", b"\x1b[31m", b" a b", b"\xe2\x80\xae", b"-h"])
def test_the_odd_name_of_a_namespace_harms_no_terminal_and_it_can_be_entered(lab: Lab, odd: bytes) -> None:
    name = f"nt-{os.getpid()}-".encode() + odd
    subprocess.run([b"ip", b"netns", b"add", name], check=True)
    try:
        inode = os.stat(b"/run/netns/" + name).st_ino
        for options in ((), ("--json",), ("--dot",), ("--findings",)):
            done = nettop("map", *options)
            assert done.returncode == 0 and "\x1b" not in done.stdout and "\u202e" not in done.stdout
        (row,) = [one for one in rows("map") if one["kind"] == "netns" and one["inode"] == inode]
        assert row["devices"] == 1 and next(one["kind"] for one in rows("map", "--netns", row["netns"])) == "netns"
    finally:
        subprocess.run([b"ip", b"netns", b"del", name], check=True)


def test_the_first_page_of_ten_thousand_routes_takes_less_than_a_third_of_a_second(broker: Broker, lab: Lab) -> None:
    ns = lab.netns()
    batch = "".join(f"route add 10.{number >> 8}.{number & 255}.0/24 dev lo\n" for number in range(10_000))
    run_in(ns, "ip", "-batch", "-", stdin=batch)
    engine = engine_with(broker, ns)
    lists, ident = MapLists(engine.map), engine.map.idents.of(ns)
    spec = ViewSpec(MapLists.default_columns, height=45, group="routes", scope=ident)
    began = time.thread_time()
    page = lists.snapshot(spec, 0)
    took = time.thread_time() - began
    assert page.total >= 10_000 and len(page.rows) == 45 and took < 0.3
    last = lists.snapshot(ViewSpec(MapLists.default_columns, height=45, group="routes", scope=ident, follow=True), 0)
    assert any("10.39.15.0/24" in row.cells[2] for row in (*page.rows, *last.rows))
    assert os.path.exists(netns_path(ns))


# A file system in user space whose program never answers.
HUNG = """
import ctypes, os, subprocess, sys
fd = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()
if ctypes.CDLL(None).mount(b"hung", sys.argv[1].encode(), b"fuse", 0, options):
    sys.exit(77)
sys.exit(subprocess.run(sys.argv[2:]).returncode)
"""


@only_root("a mount")
@pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="this kernel has no FUSE")
def test_a_path_on_a_file_system_that_does_not_answer_holds_up_nothing(tmp_path: Path) -> None:
    command = ["unshare", "--mount", sys.executable, "-c", HUNG, str(tmp_path)]
    command += [sys.executable, "-m", "nettop", "map", "--netns", f"{tmp_path}/x"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (EXIT_FAILED, "")
    assert done.stderr.startswith(f"nettop: the file system of {tmp_path}/x does not answer")
