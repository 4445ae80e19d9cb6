"""The map of a live session: it is what ip(8) says, follows changes, and answers for routes and rows of other views."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from queue import SimpleQueue
from typing import Any

import pytest

from nettop.broker.client import Broker
from nettop.model.map.detail import MapDetail
from nettop.model.map.idents import is_namespace
from nettop.model.map.route_path import RouteDetail
from nettop.model.table import Detail, Row, ViewSpec
from nettop.session.live import LiveSession
from nettop.text.units import plural
from tests.kernel.namespaces import Lab, poll, run_in

TREE = ("name", "address", "kind")
RULES = """
table inet t {
    chain c {
        type filter hook input priority 0
        ct state new iifname br0 counter
    }
}
"""


@dataclass
class Shown:
    """A session in a namespace, `here`, with a bridge, a port of which leads to another one, `there`."""

    session: LiveSession
    here: str
    there: str

    def asked(self, ask: Callable[..., None], *arguments: Any) -> Any:
        """The answer to a question; of several values a tuple."""
        answers: SimpleQueue[Any] = SimpleQueue()
        ask(*arguments, lambda *found: answers.put(found if len(found) > 1 else found[0]))
        return answers.get(timeout=30)

    def rows(self, view: str, columns: tuple[str, ...] = ()) -> tuple[Row, ...]:
        spec = ViewSpec(columns or self.session.views[view].default_columns, height=10_000)
        return tuple(self.asked(self.session.ask, view, spec).rows)

    def tree(self) -> dict[str, tuple[str, ...]]:
        """The devices of `here`, which come first in the map, by name without the branches."""
        _, *rows = self.rows("map", TREE) or ("",)
        devices = takewhile(lambda row: not is_namespace(row.ident), rows)
        return {row.cells[0].lstrip(" ▾▸├└"): row.cells[1:] for row in devices}


@pytest.fixture
def shown(broker: Broker, lab: Lab) -> Iterator[Shown]:
    here, there = lab.netns("a"), lab.netns("b")
    run_in(here, "ip", "link", "add", "br0", "type", "bridge")
    run_in(here, "ip", "link", "add", "p0", "type", "veth", "peer", "name", "e0")
    run_in(here, "ip", "link", "set", "e0", "netns", there)
    run_in(here, "ip", "link", "set", "p0", "master", "br0")
    for device in ("br0", "p0", "lo"):
        run_in(here, "ip", "link", "set", device, "up")
    run_in(here, "ip", "addr", "add", "10.77.0.1/24", "dev", "br0")
    run_in(there, "ip", "addr", "add", "10.77.0.2/24", "dev", "e0")
    run_in(there, "ip", "link", "set", "e0", "up")
    run_in(here, "nft", "-f", "-", stdin=RULES)
    session = LiveSession(broker, here)
    yield Shown(session, here, there)
    session.close()


def test_tree_has_the_devices_that_ip_lists_and_follows_them(shown: Shown) -> None:
    poll(lambda: shown.tree().get("p0", ("", ""))[1] == f"port ⇄ e0 @ {shown.there}", what="the port and its peer")
    poll(lambda: shown.tree().get("br0", ("",))[0] == "10.77.0.1/24", what="its address")
    assert shown.tree()["br0"][1] == "bridge, stp off"
    assert {link["ifname"] for link in json.loads(run_in(shown.here, "ip", "-j", "link"))} == set(shown.tree())
    run_in(shown.here, "ip", "link", "add", "mv0", "link", "br0", "type", "macvlan", "mode", "private")
    poll(lambda: shown.tree().get("mv0", ("", ""))[1] == "down, macvlan private", what="a new device")
    run_in(shown.here, "ip", "link", "del", "mv0")
    poll(lambda: "mv0" not in shown.tree(), what="its end")


def test_the_list_of_neighbours_is_that_of_ip(shown: Shown) -> None:
    run_in(shown.here, "ping", "-c1", "10.77.0.2")
    for address, flag in (("10.77.0.9", ()), ("10.77.0.8", ("extern_learn",))):
        run_in(
            shown.here,
            "ip",
            "neighbour",
            "add",
            address,
            "lladdr",
            "02:00:00:00:00:09",
            "nud",
            "noarp",
            "dev",
            "br0",
            *flag,
        )
    every = lambda: run_in(shown.here, "ip", "neighbour", "show", "nud", "all")  # noqa: E731
    poll(lambda: "ff02::" in every() and "10.77.0.9" in every(), what="neighbours that ip leaves out")

    def listed() -> list[str]:
        spec = ViewSpec(("words",), height=1000, scope=shown.rows("map", TREE)[0].ident, group="neighbours")
        words = [row.cells[0] for row in shown.asked(shown.session.ask, "lists", spec).rows]
        return sorted(line for line in words if not re.match("(..:){5}.. ", line))  # bridge fdb

    def printed() -> list[str]:
        return sorted(" ".join(line.split()) for line in run_in(shown.here, "ip", "neighbour").splitlines())

    poll(shown.tree, what="the map")
    poll(lambda: "10.77.0.8" in str(printed()) and listed() == printed(), what="the neighbours of ip")


def test_a_route_is_what_ip_route_get_says(shown: Shown) -> None:
    poll(lambda: "br0" in shown.tree())
    answer = shown.asked(shown.session.ask_route, shown.here, "10.77.0.2")
    assert isinstance(answer, Detail)
    text = "\n".join("".join(part for part, _ in line) for line in answer.lines)
    assert "dev br0" in text and "dev br0" in run_in(shown.here, "ip", "route", "get", "10.77.0.2")
    assert isinstance(answer, RouteDetail)
    of_map = lambda engine, now_ns: engine.map  # noqa: E731
    table = shown.session._run.waited(of_map)

    def passed(text: str) -> set[tuple[str, str]]:
        """The namespaces and devices that are lit."""
        found = shown.asked(shown.session.ask_route, shown.here, text)
        places = [table.place(ident) for ident in found.path]
        return {(space.namespace.label, space.name(ifindex) if ifindex else "") for space, ifindex in places}

    run_in(shown.here, "ping", "-c1", "10.77.0.2")
    over = {(shown.here, ""), (shown.here, "br0"), (shown.here, "p0"), (shown.there, ""), (shown.there, "e0")}
    poll(lambda: passed("10.77.0.2") == over, what="the port is learned")
    assert passed("10.77.0.1 from 10.77.0.2 in p0") == over, "it comes in by the port"
    assert passed("10.77.0.1") == passed("192.0.2.1") == {(shown.here, "")}, "to itself, and without a route"
    assert "no device" in shown.asked(shown.session.ask_route, shown.here, "10.77.0.2 in nothere from 10.77.0.9")
    assert "nothing is known" in shown.asked(shown.session.ask_route, "no-such-namespace", "10.77.0.2")


@pytest.mark.parametrize("view", ["flows", "rules"])
def test_a_flow_and_a_rule_lead_to_their_device(shown: Shown, view: str) -> None:
    run_in(shown.here, "ping", "-c1", "10.77.0.2")
    of_device = {"flows": "10.77.0.2", "rules": "br0"}[view]  # a flow of IGMP, say, is of none
    found = lambda: [row.ident for row in shown.rows(view) if of_device in str(row.cells)]  # noqa: E731
    (ident,) = poll(lambda: "br0" in shown.tree() and found(), what=view)
    place = poll(lambda: shown.asked(shown.session.related, view, ident, "map")[0], what="the device")
    detail = shown.asked(shown.session.detail, "map", place)
    assert isinstance(detail, MapDetail) and (detail.label, detail.device) == (shown.here, "br0")


def test_a_row_without_a_device_leads_nowhere(shown: Shown) -> None:
    poll(lambda: shown.rows("matrix"))
    assert shown.asked(shown.session.related, "matrix", shown.rows("matrix")[0].ident, "map") == (None, "")


def test_a_watched_namespace_has_its_flows_and_rules(shown: Shown) -> None:
    run_in(shown.here, "ping", "-c1", "10.77.0.2")

    def facts() -> str:
        found = shown.rows("map", TREE)
        return found[0].cells[2] if found else ""

    for view in ("rules", "flows"):
        shown.rows(view)
    count = lambda: int(run_in(shown.here, "conntrack", "-C"))  # noqa: E731
    poll(lambda: f"{plural(count(), 'flow')}, 1 rule" in facts(), what="its facts")


def test_a_namespace_that_was_named_otherwise_is_here_too(shown: Shown, broker: Broker, lab: Lab) -> None:
    process = lab.spawn_in(shown.there, "sleep", "60")
    poll(lambda: os.readlink(f"/proc/{process.pid}/ns/net") != os.readlink("/proc/self/ns/net"))
    session = LiveSession(broker, f"pid:{process.pid}")
    try:
        other = Shown(session, shown.there, shown.here)
        first = (f"▾ {shown.there}", "◀ here sleep")
        poll(lambda: other.rows("map", TREE) and other.rows("map", TREE)[0].cells[:2] == first)
    finally:
        session.close()
