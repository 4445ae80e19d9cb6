"""Whose a flow is, from the sockets of its namespace: certain, likely, forwarded, or not known; and hostile lines."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nettop.batch import Text
from nettop.columns import HAVE_REPLY, Strings
from nettop.kinds import TextKind
from nettop.model.flows.cells import RowView, row_views
from nettop.model.processes.processes import FORWARDED, FRESH_NS, THIS_HOST, Processes
from nettop.model.processes.sockets import read_sockets
from nettop.model.table import Detail, Row
from nettop.model.topology.routing import Routing
from tests.unit.model.flows.flow_rows import columns, ip, row
from tests.unit.model.flows.test_devices import GATEWAY, local, net, told

WAN, LAN = "100.100.100.1", "192.168.1.1"  # addresses of this host in GATEWAY
LISTEN, ESTABLISHED, CLOSE, TIME_WAIT = 10, 1, 7, 6


def socket(local: str = "0.0.0.0", lport: int = 80, name: str = "nginx", pid: int | None = 812, **more: Any) -> str:
    values = {"family": 2, "proto": 6, "local": local, "lport": lport, "remote": "0.0.0.0", "rport": 0}
    values |= {"state": LISTEN, "uid": 33, "inode": 7, "pid": pid, "name": name, "sharers": 1 if pid else 0}
    return json.dumps(values | more)


def connected(local: str, lport: int, remote: str, rport: int, **more: Any) -> str:
    return socket(local, lport, remote=remote, rport=rport, **({"state": ESTABLISHED} | more))


def text(*lines: str, error: str = "") -> Text:
    return Text(9, 0, 1_700_000_000_000_000_000, TextKind.PROCESSES, "\n".join(lines).encode(), error)


def processes(*lines: str, routes: bool = True) -> Processes:
    routing = Routing()
    if routes:
        told(routing, [*GATEWAY, local("fd00::1/128", 2), net("fd00::/64", 2), net("::/0", 3)])
    found = Processes(routing)
    found.apply(text(*lines), 0, 0)
    return found


def flow(src: str, sport: int, dst: str, dport: int, **given: Any) -> dict[str, Any]:
    values = row(src, sport, dst, dport) | {"proto": 6}
    return values | {name: ip(value) if isinstance(value, str) else value for name, value in given.items()}


def view(values: dict[str, Any], netns: int = 0) -> RowView:
    data = columns(values).data | {"netns": np.array([netns], np.uint16)}
    return row_views(data, np.array([0]), Strings(), lambda code: "")[0]


def cell(found: Processes, values: dict[str, Any]) -> str:
    """The cell; what filters and groups get must agree with it."""
    ((drawn, _),) = found.process([view(values)])
    data = columns(values).data | {"netns": np.zeros(1, np.uint16)}
    codes, words = found.process_codes(data)
    word, pid = words[int(codes[0])], int(found.pids(data)[0])
    last = drawn.rpartition("→")[2]
    assert (word or "–") == (last.rpartition("[")[0] or last)
    assert pid == (int(last.rpartition("[")[2].partition("]")[0]) if "[" in last else -1)
    return drawn


def test_a_connected_socket_with_exactly_the_flows_ends_is_certain() -> None:
    curl = connected(LAN, 40000, "9.9.9.9", 443, name="curl", pid=42)
    found = processes(curl)
    assert cell(found, flow(LAN, 40000, "9.9.9.9", 443)) == "curl[42]"
    assert cell(found, flow(LAN, 40000, "9.9.9.9", 444)) == THIS_HOST
    assert cell(found, flow(LAN, 40000, "9.9.9.9", 443) | {"proto": 17}) == THIS_HOST
    assert found.process([view(flow(LAN, 40000, "9.9.9.9", 443))])[0][1] == "accent"


def test_a_local_program_is_found_whatever_nat_does_to_its_flow_afterwards() -> None:
    found = processes(connected(LAN, 40000, "9.9.9.9", 53, name="dig", pid=5))
    masqueraded = flow(LAN, 40000, "9.9.9.9", 53, rdst_lo=WAN, rdport=1024)
    redirected = flow(LAN, 40000, "9.9.9.9", 53, rsrc_lo="127.0.0.1", rsport=5353)
    assert cell(found, masqueraded) == "dig[5]" and cell(found, redirected) == "dig[5]"


def test_who_answers_is_found_by_the_tuple_that_nat_made() -> None:
    found = processes(connected(LAN, 8080, "7.7.7.7", 999), connected(LAN, 8443, "10.0.0.1", 77, name="haproxy", pid=9))
    redirect = flow("7.7.7.7", 999, WAN, 80, rsrc_lo=LAN, rsport=8080)
    both = flow("7.7.7.7", 1000, WAN, 443, rsrc_lo=LAN, rsport=8443, rdst_lo="10.0.0.1", rdport=77)
    assert cell(found, redirect) == "nginx[812]" and cell(found, both) == "haproxy[9]"


def test_a_listening_socket_is_likely_and_its_own_address_comes_before_every_address() -> None:
    found = processes(socket(), socket(WAN, 80, "caddy", 7))
    assert cell(found, flow("7.7.7.7", 999, WAN, 80)) == "caddy[7]?"
    assert cell(found, flow("7.7.7.7", 999, LAN, 80)) == "nginx[812]?"
    assert cell(found, flow("7.7.7.7", 999, LAN, 81)) == THIS_HOST


def test_a_socket_on_every_ipv6_address_takes_ipv4_too_where_no_other_does() -> None:
    dual = socket("::", 80, "apache", 3, family=10, remote="::")
    answers = flow("7.7.7.7", 999, LAN, 80)
    assert cell(processes(dual), answers) == "apache[3]?"
    assert cell(processes(dual, socket()), answers) == "nginx[812]?"
    six = answers | {"family": 10, "osrc_hi": 0x2001 << 48, "odst_hi": 0xFD00 << 48, "odst_lo": 1}
    six |= {"rsrc_hi": 0xFD00 << 48, "rsrc_lo": 1, "rdst_hi": 0x2001 << 48}
    assert cell(processes(dual, socket()), six) == "apache[3]?"


def test_ipv6_ends_are_compared_whole() -> None:
    found = processes(connected("fd00::1", 500, "2001:db8::1", 443, family=10, name="ssh", pid=8))
    six = flow(LAN, 500, LAN, 443, family=10, osrc_hi=0xFD00 << 48, osrc_lo=1, odst_hi=0x20010DB8 << 32, odst_lo=1)
    six |= {"rsrc_hi": 0x20010DB8 << 32, "rsrc_lo": 1, "rdst_hi": 0xFD00 << 48, "rdst_lo": 1, "rsport": 443}
    assert cell(found, six) == "ssh[8]"
    assert cell(found, six | {"odst_hi": 0x20010DB9 << 32, "rsrc_hi": 0x20010DB9 << 32}) == THIS_HOST


def test_an_unconnected_udp_socket_that_began_a_flow_is_likely() -> None:
    found = processes(socket("0.0.0.0", 5000, "resolved", 6, proto=17, state=CLOSE))
    assert cell(found, flow(LAN, 5000, "9.9.9.9", 53) | {"proto": 17}) == "resolved[6]?"


def test_a_forwarded_flow_belongs_to_nobody_even_where_a_server_listens_on_its_port() -> None:
    found = processes(socket())
    assert cell(found, flow("192.168.1.2", 999, "9.9.9.9", 80)) == FORWARDED
    behind_dnat = flow("7.7.7.7", 999, WAN, 80, rsrc_lo="192.168.1.80")
    assert cell(found, behind_dnat) == FORWARDED
    masqueraded = flow("192.168.1.2", 999, "9.9.9.9", 80, rdst_lo=WAN)
    assert cell(found, masqueraded) == FORWARDED


def test_a_transparent_proxy_owns_a_flow_whose_ends_are_both_elsewhere() -> None:
    found = processes(connected("9.9.9.9", 80, "192.168.1.2", 999, name="squid", pid=11))
    assert cell(found, flow("192.168.1.2", 999, "9.9.9.9", 80)) == "squid[11]"


def test_broadcast_and_multicast_may_be_for_a_server_here_and_are_not_forwarded() -> None:
    dhcp, mdns = socket("0.0.0.0", 67, "dnsmasq", 3, proto=17, state=7), flow("192.168.1.9", 5353, "224.0.0.251", 5353)
    found = processes(dhcp)
    assert cell(found, flow("0.0.0.0", 68, "192.168.1.255", 67) | {"proto": 17}) == "dnsmasq[3]?"
    assert cell(found, mdns | {"proto": 17}) == "–"


def test_on_loopback_both_ends_are_named_and_the_one_that_answers_counts() -> None:
    lines = connected("127.0.0.1", 50000, "127.0.0.1", 80, name="curl", pid=1), socket()
    assert cell(processes(*lines), flow("127.0.0.1", 50000, "127.0.0.1", 80)) == "curl[1]→nginx[812]?"


def test_several_who_share_are_said() -> None:
    workers = [socket(pid=pid) for pid in (812, 813, 814)]
    assert cell(processes(*workers), flow("7.7.7.7", 9, LAN, 80)) == "nginx[812]+2?"
    forked = connected(LAN, 22, "7.7.7.7", 9, name="sshd", pid=20, sharers=2)
    found = processes(forked)
    assert cell(found, flow("7.7.7.7", 9, LAN, 22)) == "sshd[20]+1"
    lines = found.process_lines(view(flow("7.7.7.7", 9, LAN, 22)))
    assert "certain" in str(lines) and "1 other matches as well" in str(lines)


def test_sockets_without_a_process_give_way_to_the_listener() -> None:
    waiting = connected(LAN, 80, "7.7.7.7", 9, pid=None, name="")
    assert cell(processes(waiting, socket()), flow("7.7.7.7", 9, LAN, 80)) == "nginx[812]?"
    assert cell(processes(waiting), flow("7.7.7.7", 9, LAN, 80)) == THIS_HOST


def test_a_bound_tcp_socket_that_does_not_listen_is_nobodys_server() -> None:
    assert cell(processes(socket(state=CLOSE)), flow("7.7.7.7", 9, LAN, 80)) == THIS_HOST


def test_a_ping_is_its_pingers() -> None:
    ping = socket("0.0.0.0", 77, "ping", 30, proto=1, state=CLOSE)
    echo = flow(LAN, 77, "9.9.9.9", 8 << 8) | {"proto": 1, "rsport": 77, "rdport": 0}
    assert cell(processes(ping), echo) == "ping[30]?"
    raw = socket("0.0.0.0", 0, "fping", 31, proto=1, state=CLOSE)
    assert cell(processes(raw), echo) == "fping[31]?"


def test_a_flow_without_a_reply_tuple_is_answered_at_its_destination() -> None:
    values = flow("7.7.7.7", 9, LAN, 80) | {"rsrc_lo": 0, "rdst_lo": 0, "rsport": 0, "rdport": 0}
    values["have"] &= ~HAVE_REPLY
    assert cell(processes(socket()), values) == "nginx[812]?"


def test_without_routes_only_what_the_sockets_show_is_claimed() -> None:
    found = processes(socket(), connected(LAN, 22, "7.7.7.7", 9, name="sshd", pid=1), routes=False)
    assert cell(found, flow("7.7.7.7", 9, LAN, 22)) == "sshd[1]"
    assert cell(found, flow("7.7.7.7", 9, LAN, 80)) == "nginx[812]?"  # LAN is an address of a socket
    assert cell(found, flow("7.7.7.7", 9, WAN, 80)) == "–"
    assert cell(found, flow("7.7.7.7", 9, "8.8.8.8", 80)) == "–"
    assert cell(found, flow("127.0.0.1", 9, "127.0.0.1", 80)) == "nginx[812]?"


def test_each_namespace_has_its_own_processes() -> None:
    found = processes(socket())
    told(found._routing, GATEWAY, netns=1)
    values = flow("7.7.7.7", 9, LAN, 80)
    assert [drawn for drawn, _ in found.process([view(values), view(values, 1)])] == ["nginx[812]?", THIS_HOST]
    assert "not asked for yet" in str(found.process_lines(view(values, 1)))


def test_a_text_that_failed_leaves_what_was_known_and_an_equal_one_no_version() -> None:
    found = processes(socket())
    version = found.version
    found.apply(text(error="the broker is busy"), 0, 0)
    found.apply(text(socket()), 0, 0)
    assert found.version == version and cell(found, flow("7.7.7.7", 9, LAN, 80)) == "nginx[812]?"
    found.apply(text(), 0, 0)
    assert found.version > version and cell(found, flow("7.7.7.7", 9, LAN, 80)) == THIS_HOST
    found.apply(text(error="no rights"), 1, 0)
    assert "no rights" in str(found.process_lines(view(flow("7.7.7.7", 9, "8.8.8.8", 80), 1)))


def test_processes_are_wanted_when_somebody_looks_and_they_are_no_longer_fresh() -> None:
    found, flows = processes(socket()), [view(flow("7.7.7.7", 9, LAN, 80))]
    told = found.read_ns(0)
    assert not found.wanted(0, told + FRESH_NS)
    found.process(flows)
    assert (
        not found.wanted(0, told + FRESH_NS - 1) and found.wanted(0, told + FRESH_NS) and not found.wanted(1, 1 << 62)
    )
    late = [found.wanted(0, told + n * FRESH_NS, still) for still in (1, 2, 50) for n in (1, 2, 3)]
    assert late == [False, True, True, False, False, True, False, False, True], "all flows are still"
    found.apply(text(socket()), 0, 0)
    assert not found.wanted(0, told + FRESH_NS)


def test_the_detail_says_how_sure_it_is_and_why() -> None:
    found = processes(socket(), connected(LAN, 80, "7.7.7.7", 9))
    certain, likely = (str(found.process_lines(view(flow("7.7.7.7", port, LAN, 80)))) for port in (9, 10))
    assert "certain: its socket has exactly these ends" in certain and "uid 33" in certain
    assert "likely: it listens on 0.0.0.0:80" in likely
    assert FORWARDED in str(found.process_lines(view(flow("1.1.1.1", 9, "2.2.2.2", 80))))


def test_hostile_lines_are_skipped_and_the_others_read() -> None:
    bad = [
        "{", "[]", "null", '{"family":2},{"family":2}', "[" * 100_000, '{"pid":' + "9" * 5000 + "}", "\x00\xff",
        socket(family="2"), socket(proto=True), socket(lport=70_000), socket(lport=-1), socket("300.1.1.1"),
        socket("::1"), socket(pid="812"), socket(name=7), socket(sharers=None), socket(uid=1.5), socket(inode=1 << 64),
        socket(local="1" * 100), socket(pid=-5), "],[",
    ]  # fmt: skip
    found = processes(*bad, socket(), *bad)
    assert len(found.sockets(0)) == 1
    assert cell(found, flow("7.7.7.7", 9, LAN, 80)) == "nginx[812]?"


def test_a_name_cannot_drive_the_terminal_and_is_cut() -> None:
    found = processes(socket(name="\x1b[2Jx" + "y" * 500))
    (drawn,) = Row.of(1, found.process([view(flow("7.7.7.7", 9, LAN, 80))])).cells
    assert drawn.isprintable() and len(drawn) < 45 and drawn.startswith("\\x1b[2Jx")


@given(st.binary(max_size=400))
def test_any_text_is_read(body: bytes) -> None:
    table = read_sockets(body)
    assert len(table) == 0


PORT = st.sampled_from((80, 443, 5000))
HOST = st.sampled_from((LAN, WAN, "7.7.7.7", "0.0.0.0"))
SOCKET = st.tuples(HOST, PORT, HOST, st.sampled_from((0, 80, 5000)), st.sampled_from((6, 17)))


@given(st.lists(SOCKET, max_size=8), st.lists(st.tuples(HOST, PORT, HOST, PORT, st.sampled_from((6, 17))), max_size=8))
def test_the_join_finds_what_comparing_every_socket_finds(sockets: list[Any], flows: list[Any]) -> None:
    lines = [
        connected(a, p, b, q, proto=proto, pid=i + 1, name=f"p{i}", state=LISTEN if q == 0 and b == "0.0.0.0" else 1)
        for i, (a, p, b, q, proto) in enumerate(sockets)
    ]
    found = processes(*lines)

    def expected(a: str, p: int, b: str, q: int, proto: int, here: bool) -> set[int]:
        """Pids that may be named for the end a:p of a flow to b:q."""
        same = [i + 1 for i, s in enumerate(sockets) if s == (a, p, b, q, proto) and (b, q) != ("0.0.0.0", 0)]
        bound = [i + 1 for i, s in enumerate(sockets) if s == (a, p, "0.0.0.0", 0, proto) and a != "0.0.0.0"]
        wild = [i + 1 for i, s in enumerate(sockets) if s == ("0.0.0.0", p, "0.0.0.0", 0, proto) and here]
        return set(same or bound or wild)

    if not flows:
        return
    rows = [flow(a, p, b, q) | {"proto": proto} for a, p, b, q, proto in flows]
    data = columns(*rows).data | {"netns": np.zeros(len(rows), np.uint16)}
    for (a, p, b, q, proto), pid in zip(flows, found.pids(data).tolist(), strict=True):
        answers = expected(b, q, a, p, proto, b in (LAN, WAN))
        began = expected(a, p, b, q, proto, a in (LAN, WAN))
        assert pid in (answers or began or {-1})


def test_sockets_of_every_protocol_take_little_room() -> None:
    """A recording may tell of any number of hosts, each with a socket of each protocol: 130 MB each, once."""
    lines = [socket(lport=65_535, proto=proto, state=CLOSE) for proto in range(256)]
    processes(*lines)
    tracemalloc.start()
    try:
        found = processes(*lines)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert cell(found, flow(LAN, 1, WAN, 65_535) | {"proto": 17}) == "nginx[812]?"


def test_thousands_who_share_a_port_are_counted() -> None:
    found = processes(*(socket(pid=pid) for pid in range(1, 20_001)))
    row = view(flow(LAN, 1, WAN, 80))
    assert found.process([row])[0][0] == "nginx[1]+19999?"


def test_an_error_cannot_drive_the_terminal() -> None:
    found = Processes()
    found.apply(text(error="no rights\x1b[2J\u202e"), 0, 0)
    (line,) = Detail(0, (), tuple(found.process_lines(view(flow(LAN, 1, WAN, 80))))).lines
    assert line[1][0] == "– (no rights\\x1b[2J\\u202e)"
