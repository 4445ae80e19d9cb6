"""The model of the map: namespaces that come, are renamed and go, dumps of them, and the rates of their devices."""

from __future__ import annotations

import json

from nettop.batch import DumpMark, Text
from nettop.decode.rtnetlink import Link, Route
from nettop.decode.topology.decoder import MapRows
from nettop.decode.topology.namespaces import NamespaceSysctls, decode_map_sysctls, decode_namespaces
from nettop.decode.topology.objects import Device, LinkCounts, Neighbour
from nettop.kinds import TextKind
from nettop.model.topology.host_map import HISTORY, HostMap

SECOND = 1_000_000_000


def listed(*records: dict[str, object], error: str = "") -> Text:
    body = b"".join(json.dumps(record).encode() + b"\n" for record in records)
    return Text(0, 0, 0, TextKind.NAMESPACES, body, error)


def record(label: str, inode: int, **more: object) -> dict[str, object]:
    return {"label": label, "inode": inode, "names": [label] if label and ":" not in label else [], **more}


class Host:
    def __init__(self, *records: dict[str, object]) -> None:
        self.map = HostMap()
        self.list(*records)

    def list(self, *records: dict[str, object], error: str = "") -> None:
        self.map.apply(decode_namespaces(listed(*records, error=error)), 0, 0)

    def dump(self, label: str, what: str, rows: MapRows, ts_ns: int = 0, complete: bool = True) -> None:
        self.map.apply(DumpMark(0, 0, ts_ns, what, True, netns=label), 0, 0)
        self.map.apply(rows, 0, 0)
        self.map.apply(DumpMark(0, 0, ts_ns, what, False, complete, netns=label), 0, 0)

    def labels(self) -> list[str]:
        return [space.namespace.label for space in self.map.namespaces()]


def veth(ifindex: int, lower: int, nsid: int | None) -> Device:
    return Device(Link(ifindex, f"veth{ifindex}", "veth", lower=lower, peer_nsid=nsid))


def test_the_own_namespace_is_first_then_those_with_names_and_processes() -> None:
    host = Host(
        record("pid:90", 5, processes=1, pid=90), record("pid:8", 4, processes=1, pid=8), record("b", 3),
        record("", 1, nsids={"7": 0}), record("a", 2),
    )  # fmt: skip
    assert host.labels() == ["", "a", "b", "pid:8", "pid:90", "nsid 7"]
    last = host.map.of("nsid 7")
    assert last is not None
    assert last.namespace.refusal == "no name and no process: only its id is known"


def test_a_pair_is_joined_over_the_ids_that_each_side_knows() -> None:
    host = Host(record("", 1, nsids={"0": 2, "9": 0}), record("a", 2, nsids={"3": 1}))
    host.dump(
        "",
        "map-links",
        MapRows(devices=[veth(2, 5, 0), veth(3, 4, None), veth(4, 3, None), veth(6, 7, 9), veth(8, 9, -1)]),
    )
    assert [host.map.peer("", ifindex) for ifindex in (2, 3, 6, 8, 99)] == [
        ("a", 5),
        ("", 4),
        ("nsid 9", 7),
        None,
        None,
    ]
    host.dump("a", "map-links", MapRows(devices=[veth(5, 2, 3)]))
    assert host.map.peer("a", 5) == ("", 2)


def test_a_namespace_that_is_renamed_keeps_what_is_known_and_one_that_is_gone_goes() -> None:
    host = Host(record("", 1), record("pid:7", 2), record("b", 3))
    host.dump("pid:7", "map-links", MapRows(devices=[veth(2, 0, None)]))
    host.list(record("", 1), record("pid:8", 2))
    assert host.labels() == ["", "pid:8"]
    space = host.map.of("pid:8")
    assert space is not None
    assert list(space.devices) == [2]


def test_another_namespace_under_the_same_name_begins_anew() -> None:
    host = Host(record("", 1), record("a", 2))
    host.dump("a", "map-links", MapRows(devices=[veth(2, 0, None)]))
    host.list(record("", 1), record("a", 9))
    space = host.map.of("a")
    assert space is not None
    assert not space.devices
    assert not space.complete


def test_a_list_that_failed_changes_nothing_and_leaves_at_least_the_own_namespace() -> None:
    host = Host()
    host.list(error="it took too long and was ended")
    assert host.labels() == [""]
    host.list(record("", 1), record("a", 2))
    host.list(error="not permitted")
    assert host.labels() == ["", "a"]


def test_a_dump_that_was_cut_is_shown_only_where_nothing_is_known() -> None:
    host, few, many = Host(record("", 1)), [Route(2, 254, 1, 0, 0)], [Route(2, 254, 1, n, 32) for n in range(3)]
    host.dump("", "map-routes", MapRows(routes=few), complete=False)
    space = host.map.of("")
    assert space is not None
    assert (len(space.routes), "routes" in space.complete) == (1, False)
    host.dump("", "map-routes", MapRows(routes=many))
    host.dump("", "map-routes", MapRows(routes=few), complete=False)
    assert (len(space.routes), "routes" in space.complete) == (3, True)


def test_rows_outside_of_a_dump_change_nothing() -> None:
    host = Host(record("", 1))
    version = host.map.version
    host.map.apply(MapRows(devices=[veth(2, 0, None)]), 0, 0)
    host.map.apply(DumpMark(0, 0, 0, "map-links", False, True), 0, 0)
    assert host.map.version == version


def test_neighbours_and_forwarding_databases_are_read_apart() -> None:
    host = Host(record("", 1))
    arp, entry = Neighbour(2, 2, 1), Neighbour(2, 7, None)
    host.dump("", "map-neighbours", MapRows(neighbours=[arp]))
    host.dump("", "map-fdb", MapRows(neighbours=[entry]))
    space = host.map.of("")
    assert space is not None
    assert space.neighbours == (arp, entry)
    host.dump("", "map-neighbours", MapRows())
    assert space.neighbours == (entry,)


def test_rates_are_of_two_counts() -> None:
    host = Host(record("", 1))
    host.dump("", "map-links", MapRows(devices=[veth(2, 0, None)]))
    space = host.map.of("")
    assert space is not None
    for second, octets in ((1, 100), (3, 300), (4, 50)):
        counts = LinkCounts(rx_bytes=octets, tx_bytes=octets * 2, rx_dropped=octets // 100)
        host.dump("", "map-counts", MapRows(counts=[(2, counts), (99, counts)]), second * SECOND)
        if second == 1:
            assert not space.rates
        elif second == 3:
            assert space.rates == {2: (100.0, 200.0, 1.0)}
    assert space.rates == {2: (0.0, 0.0, 0.0)}, "a device that was made again counts from 0"
    assert space.devices[2].counts.rx_bytes == 50
    assert [*space.history[2]] == [(100.0, 200.0), (0.0, 0.0)]
    for second in range(5, 5 + 2 * HISTORY):
        host.dump("", "map-counts", MapRows(counts=[(2, LinkCounts())]), second * SECOND)
    assert len(space.history[2]) == HISTORY
    host.dump("", "map-links", MapRows())
    host.dump("", "map-counts", MapRows(counts=[(2, LinkCounts())]), 100 * SECOND)
    assert not space.history, "of a device that is gone"


def test_what_is_read_again_unchanged_is_no_new_version() -> None:
    host = Host(record("", 1), record("a", 2))
    rows = MapRows(devices=[veth(2, 0, None)])
    host.dump("", "map-links", rows)
    features = {2: ("gro", "tso"), 3: ()}
    host.map.apply(NamespaceSysctls("a", {"net.ipv4.ip_forward": "1"}, features), 0, 0)
    version = host.map.version
    host.dump("", "map-links", rows)
    host.list(record("", 1), record("a", 2))
    body = b"net.ipv4.ip_forward = 1\nethtool.2 = gro tso\nethtool.3 = \nethtool.x = gro\n"
    host.map.apply(decode_map_sysctls(Text(0, 0, 0, TextKind.MAP_SYSCTLS, body, netns="a")), 0, 0)
    assert host.map.version == version


def test_names_take_the_place_of_ifindexes_and_a_tap_has_its_holder() -> None:
    host = Host(record("", 1, tuns={"tap0": "qemu[5121]"}))
    vxlan = Device(Link(2, "vx", "vxlan"), parameters=(("id", "4"), ("link", "3")))
    lost = Device(Link(6, "vy", "vxlan"), parameters=(("link", "77"),))
    tap = Device(Link(4, "tap0", "tun"), parameters=(("type", "tap"), ("user", "7")))
    idle = Device(Link(5, "tap1", "tun"), parameters=(("type", "tap"), ("user", "7")))
    host.dump("", "map-links", MapRows(devices=[vxlan, veth(3, 0, None), tap, idle, lost]))
    space = host.map.of("")
    assert space is not None
    assert space.devices[2].parameters == (("id", "4"), ("link", "veth3"))
    assert space.devices[6].parameters == (("link", "if 77"),)
    assert (space.devices[4].owner, space.devices[5].owner) == ("qemu[5121]", "uid 7")
    host.list(record("", 1))
    assert space.devices[4].owner == "uid 7"


def test_a_list_that_may_lack_namespaces_says_so() -> None:
    host = Host({"label": "", "inode": 1}, {"error": "too\x1b many"})
    assert host.labels() == [""] and host.map.error == "there may be more namespaces: too\\x1b many"
    host.list({"label": "", "inode": 1})
    assert not host.map.error
    host.list(error="it took too long")
    assert host.map.error.endswith("namespaces: it took too long")


def test_hostile_lists_are_safe_and_raise_nothing() -> None:
    records: list[dict[str, object]] = [
        {}, {"label": 7, "inode": "x", "names": 3, "nsids": [], "container": 5, "tuns": 7},
        {"label": "a\x1b[31m", "inode": -4, "names": ["b\x1b"], "nsids": {"x": 1, "-1": 2, "9" * 50: 3, "4": "y"},
         "container": {"engine": 7, "id": "\x1b" * 9000, "name": None}, "tuns": {"\x1b": "\x07"}, "processes": 10**30},
    ]  # fmt: skip
    host = Host(*records)
    host.map.apply(decode_namespaces(Text(0, 0, 0, TextKind.NAMESPACES, b"[]\n{\n" + b"[" * 9999 + b"\n\xff\n")), 0, 0)
    host.dump("x\x1b", "map-links", MapRows(devices=[veth(2, 0, None)]))
    for space in host.map.namespaces():
        assert repr(space.namespace).isprintable()
        assert "\x1b" not in space.namespace.label + space.namespace.container
