from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nettop.errors import FilterError
from nettop.model.filter.expression import Endpoint, parse, words
from tests.profiles import examples
from tests.unit.model.filter.filter_rows import Row, TableOfRows, flow, packet

SNAT = flow(  # as on gateway A of the demo
    "192.168.1.2:40213",
    "200.200.200.1:443",
    "200.200.200.1:443",
    "100.100.100.1:40213",
    status=0x1 << 4 | 0b1110,
    mark=0x101,
    zone=2,
    bytes=1_500_000,
    packets=1200,
    rate=12_000.0,
    age=7200.0,
    timeout=431999,
    id=77,
    state="established",
)
DNS = flow(
    "10.0.0.7:5353", "10.9.9.9:53", proto=17, status=0b1000, bytes=90, age=3.0, rate=0.0, timeout=29, helper="dns"
)
SIX = flow("[fd00::1]:1000", "[2001:db8::2]:80", status=0b1110, state="time_wait", bytes=5000, mark=1)
PING = flow("10.0.0.7:443", "10.0.0.8:2048", proto=1, status=0b1010)
FLOWS = [SNAT, DNS, SIX, PING]
PACKETS = [
    packet("10.0.0.1:1000", "10.0.0.2:80", len=60, device="veth0", direction=4, ethertype=0x800),
    packet("10.0.0.2:80", "10.0.0.1:1000", len=1500, device="eth1", direction=0, ethertype=0x800, vlan=7),
    packet("[fd00::1]:53", "[fd00::2]:999", proto=17, len=90, device="veth1", ethertype=0x86DD),
]


def matching(expression: str, kind: str = "flow", rows: list[Row] | None = None) -> list[int]:
    parsed = parse(expression, kind)
    assert parsed is not None
    table = rows if rows is not None else PACKETS if kind == "packet" else FLOWS
    mask = parsed.mask(TableOfRows(kind, table))
    assert mask.dtype == np.bool_
    assert mask.shape == (len(table),)
    return np.flatnonzero(mask).tolist()


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("host 100.100.100.1", [0]),
        ("100.100.100.1", [0]),
        ("100.100.100.1:40213", [0]),
        ("100.100.100.1:443", []),
        ("192.168.1.2:https", []),
        ("200.200.200.1:https", [0]),
        ("src host 100.100.100.1", []),
        ("src 192.168.1.2", [0]),
        ("rdst 100.100.100.1", [0]),
        ("osrc 192.168.1.0/24 and rsrc net 200", [0]),
        ("odst port 53", [1]),
        ("port 443", [0]),
        (":443", [0]),
        ("port https or domain", [0, 1]),
        ("port 53 or 80", [1, 2]),
        ("tcp port (80 or 443)", [0, 2]),
        ("udp port 53 or 80", [1]),
        ("portrange 50-60", [1]),
        ("src or dst port 53", [1]),
        ("src and dst net 10", [1, 3]),
        ("net 10", [1, 3]),
        ("net 10.9", [1]),
        ("net 10.9.9.0/24", [1]),
        ("10.9/16", [1]),
        ("net 10.0.0.0 mask 255.0.0.255", []),
        ("net 10.0.0.7 mask 255.0.0.255", [1, 3]),
        ("fd00::/8", [2]),
        ("host fd00::1", [2]),
        ("[fd00::1]:1000", [2]),
        ("[fd00::1]", [2]),
        ("net 0.0.0.0/0", [0, 1, 3]),
        ("::/0", [2]),
        ("src 10.0.0.7 and not icmp", [1]),
        ("not host 10.0.0.7 and 10.0.0.8", []),
        ("host (10.9.9.9 or fd00::1)", [1, 2]),
        ("ip", [0, 1, 3]),
        ("ip6", [2]),
        ("ip6 host 10.0.0.7", []),
        ("icmp", [3]),
        ("proto 17", [1]),
        ("proto \\tcp", [0, 2]),
        ("ip proto icmp or udp", [1, 3]),
        ("proto != tcp", [1, 3]),
        ("tcp or udp and port 53", [1]),
        ("tcp or (udp and port 53)", [0, 1, 2]),
        ("!tcp && !udp", [3]),
        ("not not tcp", [0, 2]),
        ("TCP AND State Established", [0]),
    ],
)
def test_flows_are_found_by_any_of_their_four_ends_and_src_dst_by_the_original_tuple(
    expression: str, expected: list[int]
) -> None:
    assert matching(expression) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("state established", [0]),
        ("state ESTABLISHED or time-wait", [0, 2]),
        ("established", [0]),
        ("state != established", [1, 2, 3]),
        ("state unreplied", [1]),
        ("unreplied", [1]),
        ("replied", [0, 2, 3]),
        ("assured", [0, 2]),
        ("status assured", [0, 2]),
        ("status 0x8/0x8", [0, 1, 2, 3]),
        ("status & 4", None),
        ("nat", [0]),
        ("snat", [0]),
        ("dnat", []),
        ("not nat", [1, 2, 3]),
        ("mark 0x1/0xff", [0, 2]),
        ("mark 0x101", [0]),
        ("mark = 1", [2]),
        ("mark 0", [1, 3]),
        ("mark != 0", [0, 2]),
        ("zone 2", [0]),
        ("zone 0", [1, 2, 3]),
        ("zone 0 or 2", [0, 1, 2, 3]),
        ("id 77", [0]),
        ("bytes > 1M", [0]),
        ("bytes>=5k", [0, 2]),
        ("bytes < 5k", [1]),
        ("bytes == 1.5M", [0]),
        ("bytes != 90", [0, 2]),
        ("bytes > 1Mi", [0]),
        ("bytes > 99999999999999999999", []),
        ("packets >= 1.2k", [0]),
        ("rate > 10k", [0]),
        ("rate > 10kB/s", [0]),
        ("rate = 0", [1]),
        ("age > 1h", [0]),
        ("age > 1h59m59s", [0]),
        ("age <= 3s", [1]),
        ("timeout < 30", [1]),
        ("timeout > 1d and tcp", [0]),
        ("helper DNS", [1]),
        ("helper d*", [1]),
        ("helper ftp", []),
        ("label x", []),
        ("process nginx", []),
        ("pid 42", []),
    ],
)
def test_flows_are_found_by_what_conntrack_knows_of_them(expression: str, expected: list[int] | None) -> None:
    if expected is None:
        with pytest.raises(FilterError):
            matching(expression)
    else:
        assert matching(expression) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("src 10.0.0.1", [0]),
        ("dst 10.0.0.1", [1]),
        ("host 10.0.0.1", [0, 1]),
        ("tcp dst port 80", [0]),
        ("len > 100", [1]),
        ("less 90", [0, 2]),
        ("greater 90", [1, 2]),
        ("device veth*", [0, 2]),
        ("iface eth1 or veth0", [0, 1]),
        ("vlan 7", [1]),
        ("outbound", [0]),
        ("inbound", [1]),
        ("arp", []),
        ("ip6 and udp src port domain", [2]),
    ],
)
def test_packets_are_found_as_tcpdump_finds_them_and_by_device(expression: str, expected: list[int]) -> None:
    assert matching(expression, "packet") == expected


def test_arp_is_found_by_its_addresses_as_in_tcpdump_but_is_not_ip() -> None:
    arp = [packet("10.0.0.1:0", "10.0.0.2:0", proto=0, ethertype=0x806)]

    class Arp(TableOfRows):
        def number(self, name: str) -> np.ndarray | None:
            return np.zeros(1, np.uint8) if name == "family" else super().number(name)

    def holds(expression: str) -> bool:
        parsed = parse(expression, "packet")
        assert parsed is not None
        return bool(parsed.mask(Arp("packet", arp))[0])

    assert holds("host 10.0.0.1")
    assert holds("arp")
    assert holds("arp host 10.0.0.2")
    assert not holds("ip host 10.0.0.1")


def test_events_are_found_by_their_kind() -> None:
    rows = [flow("10.0.0.1:1", "10.0.0.2:2", event=event) for event in ("new", "update", "destroy")]
    assert matching("event new or destroy", "event", rows) == [0, 2]
    assert matching("event NEW", "event", rows) == [0]


def test_ports_count_only_where_there_are_ports() -> None:
    assert matching("port 443") == [0], "the ping's id is 443"
    known = Endpoint(None, np.array([1, 1], np.uint64), np.array([80, 80], np.uint16), np.array([True, False]))

    class Ends(TableOfRows):
        def endpoints(self, side: str) -> list[Endpoint]:
            return [known]

    parsed = parse("port 80", "packet")
    assert parsed is not None
    assert parsed.mask(Ends("packet", PACKETS[:2])).tolist() == [True, False]


def test_an_empty_filter_is_none_and_an_empty_table_an_empty_mask() -> None:
    assert parse("", "flow") is None
    assert parse(" \t\n", "flow") is None
    assert matching("host 1.2.3.4 and bytes > 5 and state established", rows=[]) == []


ERRORS = [
    ("flow", "host", 4, "takes a value"),
    ("flow", "host www.example.com", 5, "names are not looked up"),
    ("flow", "host 10.0.0.300", 5, "is not an address"),
    ("flow", "host fe80::1%eth0", 5, "zone index"),
    ("flow", "net 10.0.0.0/33", 4, "prefix length is 0 to 32"),
    ("flow", "net fd00::/129", 4, "prefix length is 0 to 128"),
    ("flow", "net 300", 4, "at most 255"),
    ("flow", "net fd00:: mask 255.0.0.0", 16, "IPv4"),
    ("flow", "port 65536", 5, "is not a port"),
    ("flow", "port x", 5, "is not a port"),
    ("flow", "portrange 1-70000", 10, "is not a port"),
    ("flow", "tcp and (udp", 8, "not closed"),
    ("flow", "tcp)", 3, "never opened"),
    ("flow", "()", 1, "is expected"),
    ("flow", "tcp udp", 4, "“and” or “or”"),
    ("flow", "tcp and", 7, "ends where something must follow"),
    ("flow", "and tcp", 0, "“and” needs something before it"),
    ("packet", "or tcp", 0, "“or” needs something before it"),
    ("packet", "tcp and (|| udp)", 9, "“||” needs something before it"),
    ("packet", "tcp and or udp", 8, "“and” needs something after it, before “or”"),
    ("packet", "not and udp", 4, "“not” needs something after it"),
    ("flow", "tcp adn port 80", 4, "did you mean and?"),
    ("flow", "tcp ad udp", 4, "did you mean and?"),
    ("packet", "tcp nad not udp", 4, "did you mean and?"),
    ("packet", "tcp orr udp", 4, "did you mean or?"),
    ("flow", "(tcp orr udp)", 5, "did you mean or?"),
    ("packet", "tcp src", 7, "takes a value"),
    ("packet", "ip.addr == 10.0.0.1", 0, "“ip.addr” is a field of Wireshark; say host 10.0.0.1"),
    ("flow", "icmp or tcp.port == 443 && udp", 8, "“tcp.port” is a field of Wireshark; say tcp port 443"),
    ("packet", "eth.src == 02:00:00:00:00:01", 0, "say ether src 02:00:00:00:00:01"),
    ("packet", "tcp not udp", 4, "“and” or “or”"),
    ("packet", "port -1", 5, "“-1” is not a port (0–65535"),
    ("packet", "portrange -5", 10, "“-5” is not a port"),
    ("packet", "portrange 5-", 10, "“” is not a port"),
    ("packet", "www.example.com", 0, "names are not looked up, give the host's address"),
    ("packet", "src localhost", 4, "names are not looked up"),
    ("packet", "host 02:00:00:00:00:01", 5, "say ether host 02:00:00:00:00:01"),
    ("packet", "02:00:00:00:00:01", 0, "say ether host 02:00:00:00:00:01"),
    ("packet", "ether host 10.0.0.1", 11, "“10.0.0.1” is not a MAC address"),
    ("packet", "ether port 80", 6, "a MAC address has no port"),
    ("packet", "ether proto foo", 12, "is not a known Ethernet protocol"),
    ("packet", "ether proto 65536", 12, "is not a known Ethernet protocol"),
    ("packet", "ether", 5, "takes a value"),
    ("packet", "ip broadcast", 3, "the network's mask is not in a packet"),
    ("packet", "ip6 broadcast", 4, "IPv6 has no broadcast"),
    ("flow", "ip multicast", 3, "does not apply to flows"),
    ("flow", "ether host 02:00:00:00:00:01", 0, "does not apply to flows"),
    ("flow", "broadcast", 0, "does not apply to flows"),
    ("packet", "tcp[tcpflag] & 2 != 0", 4, "did you mean tcpflags?"),
    ("packet", "tcp[tcpflags] & syn != 0", 16, "did you mean tcp-syn?"),
    ("packet", "icmp[icmptype] = echo", 17, "did you mean icmp-echo?"),
    ("packet", "ip == 10.0.0.1", 3, "ip cannot be compared: say ip host 10.0.0.1"),
    ("flow", "udp = 53", 4, "say udp port 53"),
    ("packet", "tcp.flags.syn == 1", 0, "is a field of Wireshark; here there are host"),
    ("packet", "port 80,443", 5, "a comma does not join conditions: say 80 or 443"),
    ("packet", "tcp,udp", 0, "say tcp or udp"),
    ("packet", "tcp port:80", 4, "did you mean port 80?"),
    ("flow", "port80", 0, "did you mean port 80?"),
    ("packet", "ssh", 0, "“ssh” is a service: say port ssh"),
    ("packet", "less", 4, "less takes a value here"),
    ("packet", "ether proto", 11, "proto takes a value here"),
    ("flow", "net 10 mask", 11, "mask takes a value here"),
    ("packet", "mpls 1048576", 5, "0–1048575"),
    ("packet", "pppoes 0x10000", 7, "0–65535"),
    ("packet", "vlan x", 5, "is not a number"),
    ("packet", "vlan udp", 5, "is not a number"),
    ("flow", "not", 3, "ends where"),
    ("flow", "443", 0, "say port 443"),
    ("flow", "hots 1.2.3.4", 0, "did you mean host"),
    ("flow", "sport 53", 0, "“sport” is the name of a column; say src port 53"),
    ("flow", "udp and DPORT = 53", 8, "say dst port 53"),
    ("packet", "not dport domain", 4, "say dst port domain"),
    ("flow", "dport > 1024", 0, "say dst port"),
    ("flow", "state established and sport 53", 22, "say src port 53"),
    ("flow", "process x or sport 53", 13, "say src port 53"),
    ("rule", "sport 53", 0, "is not known here"),
    ("flow", "bytes 1M", 6, "bytes > 1M"),
    ("flow", "bytes > x", 8, "is not a number"),
    ("flow", "bytes >", 7, "takes a value"),
    ("flow", "age > 10x", 6, "is not a duration"),
    ("flow", "zone x", 5, "is not a number"),
    ("flow", "mark 1/x", 5, "is not a number"),
    ("flow", "state foo", 6, "is not a known state; there are"),
    ("flow", "state > established", 8, "no order"),
    ("flow", "status foo", 7, "is not a known status; there are"),
    ("flow", "proto foo", 6, "is not a known protocol"),
    ("flow", "proto 256", 6, "is not a known protocol"),
    ("flow", "tcp = 5", 4, "cannot be compared"),
    ("flow", 'process "a', 8, "not closed"),
    ("flow", 'port 80 or ""', 11, "is not known here"),
    ("flow", "tcp & udp", 4, "&&"),
    ("flow", "mark 1 | mark 2", 7, "||"),
    ("flow", "mark 0x1ffffffff", 5, "0–0xffffffff"),
    ("flow", "mark 0x1/0x1ffffffff", 5, "0–0xffffffff"),
    ("flow", "mark != 4294967296", 8, "0–0xffffffff"),
    ("flow", "status 0x100000000", 7, "0–0xffffffff"),
    ("event", "id 4294967296", 3, "0–0xffffffff"),
    ("flow", "zone 70000", 5, "0–65535"),
    ("flow", "zone 1 or 65536", 10, "0–65535"),
    ("flow", "zone < 65536", 7, "0–65535"),
    ("flow", "pid 4194305", 4, "0–4194304"),
    ("packet", "vlan 4096", 5, "0–4095"),
    ("chain", "priority 2147483648", 9, "-2147483648–2147483647"),
    ("chain", "priority > -2147483649", 11, "-2147483648–2147483647"),
    ("flow", "tcp[13] & 2 != 0", 0, "flows have no bytes to test: the capture filter does (B, or -f)"),
    ("flow", "port 80 and tcp[tcpflags] & (tcp-syn|tcp-ack) != 0", 12, "flows have no bytes"),
    ("event", "ip[6:2] & 0x1fff = 0", 0, "events have no bytes to test"),
    ("packet", "tcp[13]", 7, "compare it with a number: tcp[13] != 0"),
    ("packet", "udp and tcp[13] & 2", 19, "compare it with a number: tcp[13] & 2 != 0"),
    ("packet", "tcp[13] =", 9, "ends where a number must follow"),
    ("packet", "tcp[13] = x", 10, "“x” has no bytes to test; there are ether"),
    ("packet", "tcp[13", 3, "“]” must follow"),
    ("packet", "tcp[] = 1", 4, "a number is expected here"),
    ("packet", "tcp[13:3] = 1", 7, "1, 2 or 4 bytes"),
    ("packet", "tcp[13] = 4294967296", 10, "more than 32 bits"),
    ("packet", "tcp[13] = 09", 10, "is not a number"),
    ("packet", "tcp[13] / 0 = 1", 9, "division by zero"),
    ("packet", "tcp[13] << 32 = 1", 10, "a shift by more than 31 bits"),
    ("packet", "foo[13] = 2", 0, "“foo” has no bytes to test; there are ether"),
    ("packet", "tcp[13] = 2k", 11, "does not belong here"),
    ("packet", "tcp[13] = 2 udp", 12, "“and” or “or”"),
    ("packet", "tcp[13] = 2 = 3", 12, "cannot be compared"),
    ("packet", "tcp[flags] = 2", 4, "“flags” has no bytes to test"),
    ("packet", "(tcp[13] & 2)", 12, "compare it with a number: tcp[13] & 2 != 0"),
    ("flow", "event new", 0, "does not apply to flows"),
    ("flow", "less 100", 0, "does not apply to flows"),
    ("flow", "device eth0", 0, "does not apply to flows"),
    ("flow", "tcp and outbound", 8, "does not apply to flows"),
    ("event", "tcp and rate > 5", 8, "does not apply to events"),
    ("event", "event old", 6, "there are new, update, destroy"),
    ("packet", "state established", 0, "does not apply to packets"),
    ("packet", "nat", 0, "does not apply to packets"),
    ("packet", "port 80 and osrc 10.0.0.1", 12, "does not apply to packets"),
    ("trace", "tcp[13] = 2", 0, "traces have no bytes to test"),
    ("trace", "rate > 1k", 0, "does not apply to traces"),
    ("trace", "host 10.0.0.1 and verdict drop", 18, "does not apply to traces"),
    ("trace", "len > 100", 0, "does not apply to traces"),
    ("trace", "not arp", 4, "does not apply to traces"),
    ("rule", "tcp", 0, "does not apply to rules"),
    ("rule", "handle 5 and port 80", 13, "does not apply to rules"),
    ("rule", "10.0.0.1", 0, "is not known here"),
    ("chain", "priority high", 9, "is not a number"),
    ("rule", "verdict nosuch", 8, "“nosuch” is not a known verdict; there are accept, drop, reject"),
    (
        "chain",
        "hook froward",
        5,
        "“froward” is not a known hook; there are ingress, brouting, prerouting",
    ),
    ("rule", "not family ipv4", 11, "“ipv4” is not a known family; there are ip, ip6"),
    ("rule", "backend ufw", 8, "“ufw” is not a known backend; there are nft, iptables-nft, iptables-legacy"),
    ("traced packet", "verdict dropp", 8, "“dropp” is not a known verdict"),
]


@pytest.mark.parametrize(("kind", "expression", "position", "what"), ERRORS, ids=[error[1] for error in ERRORS])
def test_what_cannot_be_understood_is_refused_with_the_caret_under_it(
    kind: str, expression: str, position: int, what: str
) -> None:
    with pytest.raises(FilterError) as caught:
        parse(expression, kind)
    assert caught.value.position == position
    assert what in caught.value.message
    assert caught.value.caret().splitlines()[-1].index("^") == position


@pytest.mark.parametrize("expression", ["sport", "(sport or dport 5)", "sport and udp", "sport =", "sport > 1024"])
def test_a_column_without_a_value_is_refused_with_the_words_alone(expression: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse(expression, "event")
    assert caught.value.message == "“sport” is the name of a column; say src port"


def test_a_process_may_be_called_like_a_column() -> None:
    parsed = parse("process x or sport and (process y or dport)", "flow")
    assert parsed is not None and parsed.columns == {"process"}


@pytest.mark.parametrize(
    "expression",
    ["mark 0xffffffff", "mark 2/0xffffffff", "zone 65535", "pid 4194304", "id 4294967295", "status 0xffffffff"],
)
def test_the_largest_value_of_a_field_is_taken(expression: str) -> None:
    assert matching(expression) == []


def test_a_refusal_names_what_can_be_asked_instead() -> None:
    with pytest.raises(FilterError, match=r"here there are host net port .* arp broadcast device .* len less"):
        parse("mark 1", "packet")


def test_control_characters_never_reach_the_terminal_and_the_caret_still_points() -> None:
    with pytest.raises(FilterError) as caught:
        parse("host\t1.2.3.4 and \x1b[31mred", "flow")
    shown = str(caught.value)
    assert "\x1b" not in shown
    lines = shown.splitlines()
    assert lines[-1].index("^") == lines[-2].index("\\x1b")


def test_hostile_expressions_are_refused_or_parsed_in_linear_time() -> None:
    begin = time.thread_time()
    for expression in (
        "(" * 8000,
        "not " * 2000,
        "! " * 4000 + "tcp",
        "tcp or " * 1100 + "udp",
        "tcp[" * 2000,
        "(" * 8000 + "[",
        "tcp[0]" + "+1" * 4000 + "=1",
        "tcp[0]=" + "-" * 8000 + "1",
        "(" * 101 + "tcp" + ")" * 101,
    ):
        try:
            parsed = parse(expression, "flow")
        except FilterError:
            continue
        assert parsed is not None
        parsed.mask(TableOfRows("flow", FLOWS))
    with pytest.raises(FilterError, match="longer than"):
        parse("tcp or " * 5000 + "udp", "flow")
    assert time.thread_time() - begin < 2


def test_a_filter_of_many_byte_tests_is_parsed_in_linear_time() -> None:
    begin = time.thread_time()
    assert parse(" or ".join(["tcp[13]=2"] * 600), "packet") is not None
    assert time.thread_time() - begin < 1


@settings(max_examples=examples(200))
@given(
    st.lists(st.sampled_from([*"()[]:-+&|=<>! ", "tcp", "ip[", "13", "0x2", "tcp-syn", "len", "or", "ether", "vlan"]))
)
def test_any_arithmetic_is_parsed_or_refused_at_a_position(parts: list[str]) -> None:
    text = "".join(parts)
    try:
        parse(text, "packet")
    except FilterError as error:
        assert error.position is not None and error.position <= len(text)


def test_parentheses_may_nest_a_hundred_deep() -> None:
    assert matching("(" * 100 + "tcp" + ")" * 100) == [0, 2]
    with pytest.raises(FilterError, match="deeper than 100"):
        parse("(" * 101 + "tcp" + ")" * 101, "flow")


def test_chains_and_rules_are_found_by_where_they_stand_and_what_they_counted() -> None:
    none = ("0.0.0.0:0", "0.0.0.0:0")
    rules = [
        packet(*none, chain="FORWARD", table="filter", verdict="drop", handle=5, packets=0, bytes=0),
        packet(*none, chain="lan", table="fw", verdict="accept", handle=6, packets=2000, bytes=90, backend="nft"),
    ]

    class Priorities(TableOfRows):
        def number(self, name: str) -> np.ndarray | None:
            return np.array([-150, 0], np.int32) if name == "priority" else super().number(name)

        def present(self, name: str) -> np.ndarray | None:
            return None if name == "priority" else super().present(name)

    def found(expression: str) -> list[bool]:
        parsed = parse(expression, "rule")
        assert parsed is not None
        return parsed.mask(Priorities("packet", rules)).tolist()

    assert found("chain FORWARD and verdict DROP") == [True, False]
    assert found("packets = 0") == [True, False]
    assert found("handle 5 or 6") == [True, True]
    assert found("backend nft") == [False, True]
    assert found("verdict MASQUERADE or verdict my* or verdict Dr*") == [True, False]
    assert found("priority -150") == [True, False]
    assert found("priority > -1") == [False, True]


@pytest.mark.parametrize("kind", ["flow", "event", "packet", "trace", "chain", "rule"])
def test_every_word_offered_for_completion_can_be_asked_there(kind: str) -> None:
    values = {"bytes": "> 1", "packets": "> 1", "rate": "> 1", "age": "> 1", "timeout": "> 1", "len": "> 1"}
    values |= {"host": "::1", "net": "10", "port": "1", "portrange": "1-2", "src": "::1", "dst": "::1", "event": "new"}
    values |= {"osrc": "::1", "odst": "::1", "rsrc": "::1", "rdst": "::1", "state": "close", "status": "dying"}
    values |= {"proto": "1", "mark": "1", "zone": "1", "id": "1", "pid": "1", "vlan": "1", "less": "1", "greater": "1"}
    values |= {name: "x" for name in ("helper", "label", "process", "netns", "device", "iface", "chain")}
    values |= (
        {"not": "device x" if kind == "trace" else "netns x"}
        | {"family": "ip6", "table": "x", "hook": "input", "backend": "nft", "verdict": "drop"}
        | {"handle": "1", "priority": "-1", "ether": "src 02:00:00:00:00:01"}
    )
    offered = words(kind)
    assert offered == sorted(set(offered))
    for word in offered:
        if word not in ("and", "or", "mask"):
            assert parse(f"{word} {values.get(word, '')}", kind) is not None


def test_a_kind_of_rows_that_does_not_exist_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="no rows of kind"):
        parse("tcp", "fish")
