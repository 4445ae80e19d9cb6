"""The demo: the lab stands with root and without, shows what NAT and rules do to its traffic, and leaves nothing."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

from nettop.broker.client import Broker
from nettop.broker.identity import can_change_ids
from nettop.broker.requests import Netns, SetSysctl
from nettop.errors import NotPermitted
from nettop.labs.client import Demo
from nettop.model.table import Detail, Snapshot, ViewSpec
from nettop.session.live import LiveSession
from tests.kernel.commands import NOBODY, nettop
from tests.kernel.namespaces import poll
from tests.kernel.processes import children_of
from tests.kernel.pty_terminal import Terminal, terminal

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]
BUILD_S = 60.0
WHO = [pytest.param((), id="as ourselves")]
if can_change_ids():
    WHO.append(pytest.param(NOBODY, id="as nobody"))


def family(pid: int) -> set[int]:
    """A process and all that descend from it."""
    found, new = {pid}, {pid}
    while new:
        new = {child for parent in new for child in children_of(parent)} - found
        found |= new
    return found


def host() -> tuple[str, ...]:
    """What the lab must not touch: names of namespaces, devices, rules."""
    names = os.listdir("/run/netns") if os.path.isdir("/run/netns") else []
    looks = (["ip", "-o", "link"], ["nft", "list", "tables"])
    printed = [subprocess.run(argv, capture_output=True, text=True, check=False).stdout for argv in looks]
    return *sorted(name for name in names if not name.startswith("nt-")), *printed  # those are of other tests


@pytest.fixture(scope="module")
def lab_broker() -> Iterator[Broker]:
    """A broker in a lab of its own; this process keeps its privileges."""
    with Demo(confine=False) as broker:
        yield broker


def test_a_read_only_demo_refuses_to_change_even_the_lab() -> None:
    with Demo(read_only=True, confine=False) as broker:
        change = SetSysctl(broker.netns("gw-a").handle, "net.netfilter.nf_conntrack_acct", "0")
        with pytest.raises(NotPermitted, match="nettop runs with --read-only"):
            broker.change(change)


def details(session: LiveSession) -> list[str]:
    """Every flow as a person reads it in the detail pane."""
    snapshots: SimpleQueue[Snapshot] = SimpleQueue()
    session.ask("flows", ViewSpec(("original",), height=500), snapshots.put)
    found: list[str] = []
    for row in snapshots.get(timeout=30).rows:
        answers: SimpleQueue[Detail | None] = SimpleQueue()
        session.detail("flows", row.ident, answers.put)
        detail = answers.get(timeout=30)
        if detail is not None:
            found.append("\n".join("".join(text for text, _ in line) for line in (detail.title, *detail.lines)))
    return found


def watching(broker: Broker, netns: str, test: Callable[[LiveSession], None]) -> None:
    session = LiveSession(broker, netns)
    try:
        test(session)
    finally:
        broker_close, broker.close = broker.close, lambda: None  # type: ignore[method-assign]
        session.close()
        broker.close = broker_close  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("netns", "words"),
    [
        ("gw-a", (r"192\.168\.1\.2:(\d+)\b.*200\.200\.200\.1:443", r"100\.100\.100\.1:{port}\b", "SNAT")),
        ("gw-b", (r"100\.100\.100\.1:(\d+)\b.*200\.200\.200\.1:443", r"192\.168\.2\.2:443\b", "DNAT")),
    ],
)
def test_both_gateways_show_what_they_rewrite(lab_broker: Broker, netns: str, words: tuple[str, str, str]) -> None:
    original, rewritten, nat = words

    def is_it(text: str) -> bool:
        flow = re.search(original, text)
        return flow is not None and nat in text and re.search(rewritten.format(port=flow[1]), text) is not None

    def look(session: LiveSession) -> None:
        poll(lambda: any(map(is_it, details(session))), what=f"the flow of machine A on {netns}")

    watching(lab_broker, netns, look)


def test_drops_are_counted_three_chains_deep(lab_broker: Broker) -> None:
    netns: Netns = lab_broker.netns("gw-a")
    from nettop.kinds import TextKind

    def dropped() -> bool:
        text = lab_broker.text(netns, TextKind.NFT_RULESET).decode()
        counted = re.search(r"@bad counter packets (\d+)", text)
        return counted is not None and int(counted[1]) > 0

    text = lab_broker.text(netns, TextKind.NFT_RULESET).decode()
    assert re.search(r"chain forward \{[^}]*jump lan", text)
    assert re.search(r"chain lan \{[^}]*jump blocked", text)
    poll(dropped)


def test_t_names_the_rule_that_drops_within_seconds() -> None:
    with terminal("demo") as screen:
        started(screen)
        screen.key("7thost 203.0.113.66\r")
        poll(lambda: screen.shows("Trace packets in gw-a"))
        screen.key("\r")
        poll(lambda: screen.shows("▸ lan ▸ blocked rule 1 “ip daddr @bad counter drop"), 5.0, what="the rule")
        screen.key("S")
        poll(lambda: screen.shows("the trace has ended"))
        assert screen.quit() == 0


def started(screen: Terminal) -> set[int]:
    """Wait for the first screen of the demo; its processes."""
    ended = screen.process.poll
    poll(lambda: screen.shows("192.168.1.2") or ended() is not None, BUILD_S, what="machine A on the screen")
    assert screen.shows("192.168.1.2"), screen.drawn[-2000:]
    return family(screen.process.pid)


@pytest.mark.parametrize("who", WHO)
def test_every_view_answers_its_key_and_q_leaves_nothing(who: tuple[str, ...]) -> None:
    before = host()
    with terminal("demo", before=who, env={"HOME": "/"}) as screen:
        processes = started(screen)
        assert len(processes) > 4
        poll(lambda: screen.shows("SNAT"))
        for key, words in (("2", "UPDATE"), ("3", "prerouting"), ("4", "INFO"), ("5", "max_entries")):
            screen.drawn = b""
            screen.key(key)
            poll(lambda words=words: screen.shows(words), what=f"view {key}")  # type: ignore[misc]
        screen.key("?")
        poll(lambda: screen.shows("Help: keys"))
        screen.key("q")
        assert screen.quit() == 0
    assert b"Traceback" not in screen.drawn
    poll(lambda: not alive(processes), what="all its processes are gone")
    assert host() == before


# Sets a device of the lab down, by a socket that the broker passed to the app: RTM_NEWLINK, ifi_change IFF_UP.
_SET_DOWN = """
import os, socket, struct
from nettop.labs.client import Demo
from nettop.linux.netlink import NETLINK_ROUTE
with Demo() as broker:
    netns = broker.netns("gw-a")
    with socket.socket(fileno=os.dup(broker.netlink_socket(netns, NETLINK_ROUTE).fd)) as sock:
        sock.send(struct.pack("=IHHIIBBHiII", 32, 16, 5, 1, 0, 0, 0, 0, 1, 0, 1))
        print(struct.unpack_from("i", sock.recv(1 << 16), 16)[0])
"""


@pytest.mark.parametrize("who", WHO)
def test_code_in_the_demos_app_cannot_change_the_labs_network(who: tuple[str, ...]) -> None:
    done = subprocess.run(
        [*who, sys.executable, "-c", _SET_DOWN], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == f"{-errno.EPERM}\n", done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_demo_leaves_nothing(number: int) -> None:
    before = host()
    with terminal("demo") as screen:
        processes = started(screen)
        screen.process.send_signal(number)
        screen.end()
    poll(lambda: not alive(processes), what="all its processes are gone")
    assert host() == before


def test_killing_it_while_it_builds_leaves_nothing() -> None:
    with terminal("demo") as screen:
        poll(lambda: len(family(screen.process.pid)) > 3)
        processes = family(screen.process.pid)
        screen.process.kill()
        screen.process.wait()
    poll(lambda: not alive(processes), what="all its processes are gone")


def alive(pids: set[int]) -> set[int]:
    return {pid for pid in pids if os.path.exists(f"/proc/{pid}")}


# An ordinary user (uid 1000) without capabilities, in user and mount namespaces where a script has run.
ORDINARY = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--keep-caps", "--mount", "sh", "-c")
_POWERLESS = 'exec setpriv --ambient-caps=-all --inh-caps=-all --bounding-set=-all "$@"'


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 0 > /proc/sys/user/max_user_namespaces", "user.max_user_namespaces=0"),
        # They can be made but not used, as on Ubuntu: no uid can be mapped.
        ("mount -o remount,bind,ro /proc", "Read-only file system"),
    ],
)
def test_where_no_lab_can_be_built_the_screen_says_that_it_is_a_recording_and_how_to_build_one(
    script: str, reason: str
) -> None:
    env = {"HOME": "/", "NETTOP_COMMAND": "./dev run"}
    with terminal("demo", before=(*ORDINARY, f"{script} && {_POWERLESS}", "sh"), env=env, size=(45, 200)) as screen:
        poll(lambda: screen.shows("192.168.1.2"))
        assert screen.shows("This is a recording of the lab, not the lab: this host denies user namespaces to ordinary")
        assert screen.shows(f"users ({reason}). To build it: sudo ./dev run demo")
        assert screen.shows("REPLAY")
        screen.quit()
        assert b"nettop:" not in screen.drawn, "something is said behind the screen"


def test_a_lab_without_a_tool_names_it() -> None:
    """The tools are looked for in the system's directories: there, nft is hidden."""
    script = 'for d in /usr/sbin /sbin; do mount --bind /dev/null $d/nft; done && exec "$@"'
    before = ("unshare", "--mount", "sh", "-c", script, "sh")
    with terminal("demo", before=before, env={"HOME": "/"}, size=(45, 200)) as screen:
        poll(lambda: screen.shows("192.168.1.2"))
        assert screen.shows("not the lab: the lab needs nft: install iproute2, nftables and iptables")
        screen.quit()


def test_an_unknown_lab_is_wrong_usage() -> None:
    done = nettop("demo", "nonsense")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
