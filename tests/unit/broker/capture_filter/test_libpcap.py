"""Capture filters: what compiles, where the caret stands, and what never reaches a resolver."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nettop.broker.capture_filter import libpcap
from nettop.broker.capture_filter.words import refuse_names, tokens
from nettop.errors import BrokerError, FilterError
from nettop.linux.linktypes import LINKTYPE_ETHERNET, LINKTYPE_NETLINK
from tests.profiles import examples

SNAPLEN = 262_144


def compiled(expression: str) -> bytes:
    return libpcap.compile_program(LINKTYPE_ETHERNET, expression, SNAPLEN)


def error(expression: str) -> FilterError:
    with pytest.raises(FilterError) as caught:
        compiled(expression)
    return caught.value


def test_an_empty_filter_keeps_the_snaplen_of_every_packet() -> None:
    assert compiled("") == struct.pack("=HBBI", 6, 0, 0, SNAPLEN)  # BPF_RET | BPF_K


def test_programs_are_whole_instructions() -> None:
    program = compiled("tcp port 80 and host 10.0.0.1")
    assert len(program) % libpcap.INSTRUCTION_SIZE == 0
    assert len(program) > libpcap.INSTRUCTION_SIZE


@pytest.mark.parametrize(
    ("expression", "position"),
    [
        ("tcp port", 8),
        ("tcp port ", 8),
        ("tcp port 80 and", 15),
        ("(tcp or udp", 11),
        ("tcp)", 3),
        ("ip[0", 4),
        ("src 1.2.3.4 and and tcp", 16),
        ("port nosuchservice", 5),
        ("host 1.2.3.400", 5),
        ("net 10.0.0.0/33", 13),
        ("dst port 99999", 9),
        ("tcp host 1.2.3.4", 4),
        ("udp and é", 8),
        ("tpc port 80", 0),
        ("tcp or\0udp", 6),
        ("x" * (libpcap.MAX_EXPRESSION + 1), None),
    ],
)
def test_the_caret_stands_at_the_error(expression: str, position: int | None) -> None:
    assert error(expression).position == position


def test_raw_ip_compiles_under_its_link_type() -> None:
    ethernet = compiled("src host 192.0.2.1")
    assert 0 < len(libpcap.compile_program(101, "src host 192.0.2.1", SNAPLEN)) < len(ethernet)


def test_netlink_streams_take_no_capture_filter() -> None:
    with pytest.raises(FilterError, match="netlink"):
        libpcap.compile_program(LINKTYPE_NETLINK, "tcp", SNAPLEN)


@pytest.mark.parametrize(
    "expression",
    [
        "host example.invalid",
        "example.invalid",
        "net nosuchnet",
        "gateway nosuch",
        "ether host nosuch",
        "src or dst nosuch",
        "host 10.0.0.1 and (port http) or nosuch",
        "port http or (nosuch)",
        "host \\tcp",
        "host 1.2.3.4.5",
        "host 1.2.3.4x",
        "host fe80::1g",
        "host dead:beef",
        "host fe80::1%eth0",
    ],
)
def test_names_are_refused_before_anything_is_looked_up(expression: str) -> None:
    assert "not looked up" in str(error(expression))


@pytest.mark.parametrize(
    "expression",
    [
        "port http or https",
        "port (http or https)",
        "tcp portrange 80-90",
        r"ether proto \ip and ip proto \tcp",
        "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
        "icmp[icmptype] = icmp-echo or icmp6",
        "net 10.0.0.0/8 or net 192.168.0.0 mask 255.255.0.0 or host ::ffff:1.2.3.4",
        "ether host 02:00:00:00:00:01 or ether src 0200.0000.0001",
        "vlan 5 and len > 0x40 && !arp",
    ],
)
def test_keywords_literals_and_services_compile(expression: str) -> None:
    assert compiled(expression)


@given(st.ip_addresses())
def test_every_address_is_a_literal(address: object) -> None:
    assert compiled(f"host {address}")


@given(st.text(max_size=60))
def test_tokens_stand_where_they_say(expression: str) -> None:
    found = tokens(expression)
    assert all(expression[token.start : token.end] == token.text for token in found)
    assert "".join(token.text for token in found) == "".join(expression.split())


WORDS = """host port portrange proto net gateway src dst ether ip tcp and or not ( ) [ ] / nosuch.invalid nosuch type
1.2.3.4 80 80-90 :: mask vlan len > \\tcp http"""


@settings(max_examples=examples(1_000))
@given(st.lists(st.sampled_from(WORDS.split()), max_size=8))
def test_an_accepted_filter_makes_libpcap_look_up_no_host(words: list[str]) -> None:
    expression = " ".join(words)
    try:
        refuse_names(expression)
        compiled(expression)
    except FilterError as refused:
        assert "unknown host" not in str(refused)
        assert "unknown network" not in str(refused)
        assert "unknown ether host" not in str(refused)


@pytest.mark.parametrize("expression", ["tcp host", "tcp dst", "tcp host or proto port"])
def test_nothing_is_looked_up_to_find_the_caret(expression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    compiles = libpcap._try

    def remembered(handle: int, text: str, netmask: int) -> bytes | str:
        tried.append(text)
        return compiles(handle, text, netmask)

    monkeypatch.setattr(libpcap, "_try", remembered)
    assert error(expression).position is not None
    assert len(tried) > 1
    for text in tried:
        refuse_names(text)


@given(st.text(max_size=40))
def test_any_text_compiles_or_is_refused_inside_itself(expression: str) -> None:
    try:
        compiled(expression)
    except FilterError as refused:
        assert refused.position is not None
        assert 0 <= refused.position <= len(expression)


def test_without_libpcap_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libpcap, "_SONAMES", ("libpcap-not-here.so",))
    libpcap._library.cache_clear()
    try:
        with pytest.raises(BrokerError, match=r"libpcap0\.8"):
            compiled("tcp")
    finally:
        libpcap._library.cache_clear()
