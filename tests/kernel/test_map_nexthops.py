"""Nexthop objects: shown as `ip nexthop` prints them, with the routes that use them, by events, and in recordings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nettop.model.map.lists import MapLists
from nettop.model.table import ViewSpec
from nettop.model.topology.host_map import NamespaceMap
from tests.kernel.commands import nettop, rows
from tests.kernel.namespaces import Lab, poll, run_in
from tests.kernel.test_map_live import changes_shown, mapped

pytestmark = pytest.mark.kernel

Row = dict[str, Any]
NEXTHOPS = (
    "nexthop add id 1 via 10.77.0.2 dev v0",
    "nexthop add id 2 blackhole",
    "nexthop add id 3 via 10.77.0.3 dev v0 proto static onlink",
    "nexthop add id 4 dev v0",
    "nexthop add id 6 via fd00:77::2 dev v0 proto bgp",
    "nexthop add id 7 via 10.77.0.9 fdb",
    "nexthop add id 10 group 1,2/3,200",
    "nexthop add id 11 group 1/3,5 type resilient buckets 8 idle_timer 60 unbalanced_timer 7",
    "nexthop add id 12 group 7 fdb",
)
ROUTES = (
    "route add 10.88.0.0/16 nhid 10",
    "route add 10.89.0.0/16 nhid 1",
    "route add 10.90.0.0/16 nhid 2",
    "route add fd00:88::/64 nhid 6",
)
WAYS = (("id", 0), ("gateway", None), ("dev", None), ("scope", "global"), ("flags", []), ("type", None))
ROUTE_WORDS = "10.88.0.0/16 nhid 10 proto boot nexthop via 10.77.0.2 dev v0 weight 2 nexthop via 10.77.0.3 dev v0"


def built(lab: Lab) -> str:
    here, there = lab.netns("a"), lab.netns("b")
    lab.veth_pair(here, there, "v0", "w0")
    run_in(here, "ip", "address", "add", "10.77.0.1/24", "dev", "v0")
    run_in(here, "ip", "address", "add", "fd00:77::1/64", "dev", "v0", "nodad")
    for line in (*NEXTHOPS, *ROUTES):
        run_in(here, "ip", *line.split())
    return here


def test_nexthops_are_those_of_ip_and_routes_name_theirs(lab: Lab, tmp_path: Path) -> None:
    ns, file = built(lab), tmp_path / "a.pcapng"
    assert nettop("record", "-w", str(file), "--duration", "4", "--netns", ns).returncode == 0
    for printed in (rows("map", "--netns", ns), [r for r in rows("map", "-r", str(file)) if r["netns"] == ns]):
        ours = [_as_ip(row) for row in printed if row["kind"] == "nexthop"]
        theirs = json.loads(run_in(ns, "ip", "-j", "-d", "nexthop"))
        assert ours == [_plain(one) for one in theirs]
        ours = {
            (row["destination"], row["nhid"], *((one["device"], one["weight"]) for one in row["next_hops"] or ()))
            for row in printed
            if row["kind"] == "route"
        }
        listed = [one for f in ("-4", "-6") for one in json.loads(run_in(ns, "ip", f, "-j", "route"))]
        assert ours >= {
            (one["dst"], one.get("nhid"), *((hop["dev"], hop["weight"]) for hop in one.get("nexthops", ())))
            for one in listed
        }
    text = nettop("map", "--netns", ns).stdout
    assert f"  route {ROUTE_WORDS} weight 200 onlink\n" in text
    said = [line.removeprefix("  nexthop ") for line in text.splitlines() if line.startswith("  nexthop ")]
    assert said == [line.strip() for line in run_in(ns, "ip", "nexthop").splitlines()]


def _as_ip(row: Row) -> Row:
    group = [{"id": one["id"], "weight": one["weight"]} for one in row["group"] or ()]
    values = (row["id"], row["gateway"], row["name"], row["scope"], row["flags"], row["resilient"] and "resilient")
    made = {key: value for (key, _), value in zip(WAYS, values, strict=True)}
    resilient = row["resilient"] and {name: row["resilient"][name] for name in list(row["resilient"])[:3]}
    return made | {"group": group, "resilient": resilient, "protocol": row["protocol"],
                   "blackhole": row["blackhole"], "fdb": row["fdb"]}  # fmt: skip


def _plain(one: Row) -> Row:
    group = [{"id": member["id"], "weight": member.get("weight", 1)} for member in one.get("group", ())]
    arguments = one.get("resilient_args")
    resilient = arguments and {name: arguments[name] for name in list(arguments)[:3]}  # unbalanced_time goes on
    return {key: one.get(key, default) for key, default in WAYS} | {
        "group": group, "resilient": resilient, "protocol": one["protocol"],
        "blackhole": "blackhole" in one, "fdb": "fdb" in one,
    }  # fmt: skip


def test_nexthops_change_by_events(lab: Lab) -> None:
    ns = built(lab)
    with mapped(ns) as shown:
        poll(lambda: (space := shown.of(ns)) and len(space.nexthops) == len(NEXTHOPS))
        ours = lambda space, ident: next(one for one in space.nexthops if one.id == ident)  # noqa: E731
        cases: list[tuple[str, Callable[[NamespaceMap], object]]] = [
            ("nexthop replace id 10 group 1/3,4", lambda space: ours(space, 10).group == ((1, 1), (3, 4))),
            ("nexthop del id 4", lambda space: all(one.id != 4 for one in space.nexthops)),
            ("link set v0 down", lambda space: {one.id for one in space.nexthops} == {2, 7, 12}),
        ]
        changes_shown(shown, ns, "ip", cases)


def test_a_route_has_its_nexthops_in_list_and_detail(lab: Lab) -> None:
    ns = built(lab)
    with mapped(ns) as shown:
        poll(lambda: (space := shown.of(ns)) and "routes" in space.complete and "nexthops" in space.complete)

        def read(engine: Any, now_ns: int) -> tuple[str, list[str]]:
            table = MapLists(engine.map)
            spec = ViewSpec(("words",), height=1000, scope=engine.map.idents.of(ns), group="routes")
            snapshot = table.snapshot(spec, 0)
            (ident,) = [row.ident for row in snapshot.rows if row.cells[0].startswith("10.88.0.0/16 nhid 10")]
            detail = table.detail(ident, 0)
            assert detail is not None
            return snapshot.totals[0][0], ["".join(text for text, _ in line).strip() for line in detail.lines]

        title, lines = shown.session._run.waited(read)
        assert f"and {len(NEXTHOPS)} nexthops of" in title
        assert [line.split("  ")[-1].strip() for line in lines[1:]] == [
            "id 10 group 1,2/3,200",
            "id 1 via 10.77.0.2 dev v0 scope link",
            "id 3 via 10.77.0.3 dev v0 scope link proto static onlink",
        ]
