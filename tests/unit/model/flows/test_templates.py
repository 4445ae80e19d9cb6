"""The words of flows are conntrack's and the kernel's, and a JSON line is valid whatever is absent."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nettop import columns as ct
from nettop.linux import conntrack as nfct
from nettop.model.flows.templates import (
    JOINED_VALUES,
    SHAPE_HAVE,
    TEMPLATE_VALUES,
    FlowShape,
    json_template,
    text_template,
)
from nettop.text.flow import (
    PROTO_NAMES,
    STATE_BASE,
    STATE_LABELS,
    labels_text,
    nat_label,
    nat_names,
    status_names,
)

EVIL = "gw\x1b[2J\u202e%s"
VALUES = ("10.0.0.1", 1, "10.0.0.2", 2, "10.0.0.2", 2, "10.0.0.1", 1, 30, 7, 99, 3, 180, 4, 240, 10**18, 10**18 + 1)


def test_words_agree_with_the_decoders_table_of_kernel_names() -> None:
    assert status_names((1 << 16) - 1) == tuple(nfct.IPS_NAMES)
    for proto, names in nfct.STATES.items():
        base = STATE_BASE[proto]
        assert [word.lower() for word in STATE_LABELS[base : base + len(names)]] == list(names)


def test_protocols_are_named_as_conntrack_names_them() -> None:
    assert [PROTO_NAMES[n] for n in (6, 17, 1, 58, 132, 47, 33, 136)] == (
        ["tcp", "udp", "icmp", "icmpv6", "sctp", "gre", "dccp", "udplite"]
    )
    assert PROTO_NAMES[200] == "proto-200"


def test_status_words_are_the_set_bits_lowest_first() -> None:
    assert status_names(0b11110) == ("seen_reply", "assured", "confirmed", "src_nat")
    assert status_names(1 << 31) == ("bit_31",)
    assert status_names(0) == ()


@pytest.mark.parametrize(
    ("bits", "label", "words"),
    [
        (0, "", []),
        (1, "SNAT", ["snat"]),
        (2, "DNAT", ["dnat"]),
        (3, "SNAT+DNAT", ["snat", "dnat"]),
        (1 | 4, "SNAT port", ["snat"]),
        (2 | 8, "DNAT port", ["dnat"]),
        (3 | 4 | 8, "SNAT+DNAT port", ["snat", "dnat"]),
        (3 | 4, "SNAT+DNAT", ["snat", "dnat"]),
    ],
)
def test_nat_says_which_end_was_rewritten_and_whether_only_its_port(bits: int, label: str, words: list[str]) -> None:
    assert (nat_label(bits), nat_names(bits)) == (label, words)


def test_bit_n_of_the_labels_number_is_label_n() -> None:
    assert labels_text(bytes([0, 1] + [0] * 14)) == "0x100"


@given(
    st.builds(
        FlowShape,
        netns=st.none() | st.text(),
        family=st.sampled_from((2, 10, 77)),
        proto=st.integers(0, 255),
        state=st.none() | st.sampled_from(STATE_LABELS),
        status=st.none() | st.integers(0, 2**32 - 1),
        nat=st.integers(0, 15),
        zone=st.integers(0, 65535),
        helper=st.none() | st.text(),
        labels=st.none() | st.just("0x1"),
        event=st.none() | st.sampled_from(("new", "update", "destroy")),
        icmp=st.integers(0, 65535),
        reply_icmp=st.integers(0, 65535),
        have=st.integers(0, SHAPE_HAVE),
    )
)
def test_every_shape_is_one_json_object_whose_absent_values_are_null(shape: FlowShape) -> None:
    assert len(VALUES) == len(TEMPLATE_VALUES)
    line = json_template(shape) % VALUES
    found = json.loads(line)
    assert "\n" not in line
    assert next(iter(found)) == "kind"
    assert found["netns"] == shape.netns and found["helper"] == shape.helper and found["state"] == shape.state
    assert found["src"] == "10.0.0.1" and found["reply_src"] == ("10.0.0.2" if shape.has(ct.HAVE_REPLY) else None)
    assert found["packets"] == (3 if shape.has(ct.HAVE_OCOUNT) else None)
    assert found["reply_bytes"] == (240 if shape.has(ct.HAVE_RCOUNT) else None)
    assert found["timeout"] == (30 if shape.has(ct.HAVE_TIMEOUT) else None)
    assert found["start_ns"] == (10**18 if shape.has(ct.HAVE_START) else None)
    assert (found["status"] is None) == (shape.status is None)
    assert found.get("ts_ns") == (None if shape.event is None else 10**18 + 1)
    if shape.proto in (1, 58):
        assert found["icmp_type"] == (shape.icmp >> 8 if shape.has(ct.HAVE_OPORTS) else None) and "sport" not in found
    else:
        assert found["sport"] == (1 if shape.has(ct.HAVE_OPORTS) else None)
        assert found["reply_dport"] == (1 if shape.has(ct.HAVE_RPORTS) else None)


def test_a_flow_ends_with_what_was_joined_to_it_and_with_nulls_where_that_was_not_asked() -> None:
    shape = FlowShape(netns="", family=2, proto=6, state=None, status=None, nat=0)
    assert json_template(shape) % VALUES == json_template(replace(shape, joined=True)) % (*VALUES, *["null"] * 3)
    found = json.loads(json_template(replace(shape, joined=True)) % (*VALUES, 1200, '"nginx"', 812))
    assert (found["rate"], found["process"], found["pid"]) == (1200, "nginx", 812)
    assert len(JOINED_VALUES) == 3
    line = text_template(replace(shape, joined=True)) % (*VALUES, " rate 1.2k/s", " process nginx[812]", "")
    assert line == text_template(shape) % VALUES + " rate 1.2k/s process nginx[812]"


def test_a_namespaces_label_is_safe_for_a_terminal_and_exact_in_json() -> None:
    shape = FlowShape(netns=EVIL, family=2, proto=6, state=None, status=None, nat=0)
    line = text_template(shape) % VALUES
    assert line.isprintable() and r"netns gw\x1b[2J" in line
    assert json.loads(json_template(shape) % VALUES)["netns"] == EVIL


@pytest.mark.parametrize(
    ("status", "state", "flags"),
    [
        (0b1110, "ESTABLISHED", " ASSURED"),
        (0b1000, "SYN_SENT", " UNREPLIED"),
        (0b1000, None, ""),  # its state is UNREPLIED
        (0b1110, None, ""),  # its state is assured
        (0b1111, "ESTABLISHED", " ASSURED EXPECTED"),
        (1 << 14 | 0b1110, None, " OFFLOAD"),
        (3 << 14 | 0b1110, "ESTABLISHED", " ASSURED HW_OFFLOAD"),
        (None, "ESTABLISHED", ""),
    ],
)
@pytest.mark.parametrize("event", [None, "update"])
def test_text_has_the_flags_that_conntrack_prints(
    status: int | None, state: str | None, flags: str, event: str | None
) -> None:
    have = SHAPE_HAVE & ~ct.HAVE_TIMEOUT & ~(0 if status is not None else ct.HAVE_STATUS)
    have &= ~(ct.HAVE_ZONE_ORIG_ONLY | ct.HAVE_ZONE_REPLY_ONLY)
    line = text_template(FlowShape("", 2, 6, state, status, 1, have=have, event=event)) % VALUES
    assert f"10.0.0.1:1 SNAT{flags} mark 7" in line


@pytest.mark.parametrize(
    ("bit", "zone", "words"),
    [
        (0, 0, ""),
        (0, 2, " zone 2"),
        (ct.HAVE_ZONE_ORIG_ONLY, 2, " zone 2 original"),
        (ct.HAVE_ZONE_REPLY_ONLY, 3, " zone 3 reply"),
    ],
)
def test_text_says_which_direction_a_zone_is_of(bit: int, zone: int, words: str) -> None:
    have = SHAPE_HAVE & ~(ct.HAVE_ZONE_ORIG_ONLY | ct.HAVE_ZONE_REPLY_ONLY) | bit
    line = text_template(FlowShape("", 2, 6, "ESTABLISHED", 0b1110, 0, zone=zone, have=have)) % VALUES
    assert f" mark 7{words} id 99" in line
