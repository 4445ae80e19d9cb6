from __future__ import annotations

import random
import struct
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nettop import columns as c
from nettop.columns import FLOW_DTYPES, Decoded, Strings
from nettop.decode.conntrack.decoder import MAX_LAYOUTS, ConntrackDecoder
from nettop.linux import netlink
from nettop.linux.netlink import NLMSG_DONE
from tests.unit.decode.conntrack.flow_messages import Flow, expected, flows, rows
from tests.unit.decode.netlink_bytes import CT_DELETE, batch, be, ct, nest, nla, nlmsg, tuple4, udp


def decode(datagrams: list[bytes], **how: int) -> tuple[Decoded, Strings]:
    strings = Strings()
    return ConntrackDecoder(strings)(batch(datagrams, **how)), strings


def good_rows(decoded: Decoded) -> list[int]:
    return [int(value) for value in decoded.cols["id"]]


@given(st.lists(flows(), max_size=5), st.integers(1, 20), st.integers(0, 7))
def test_a_row_is_what_its_message_says(some: list[Flow], times: int, gap: int) -> None:
    """One by one and in bulk (the same layouts many times over) give the same rows."""
    many = some * times
    decoded, strings = decode([flow.message for flow in many], gap=gap)
    assert rows(decoded, strings) == [expected(flow.row, 1000 + i) for i, flow in enumerate(many)]
    assert not len(decoded.errors)
    assert decoded.record.tolist() == list(range(len(many)))


@given(st.lists(flows(), min_size=1, max_size=4), st.integers(1, 9))
def test_one_datagram_of_many_messages_gives_the_same_rows_as_a_datagram_each(some: list[Flow], times: int) -> None:
    messages = [flow.message for flow in some] * times
    apart, strings = decode(messages)
    together, strings2 = decode([b"".join(messages)])
    alone = [row | {"ts_ns": 0} for row in rows(apart, strings)]
    assert [row | {"ts_ns": 0} for row in rows(together, strings2)] == [row | {"ts_ns": 0} for row in alone]
    assert together.record.tolist() == [0] * len(messages)


@given(st.lists(flows(), min_size=1, max_size=3), st.integers(1, 12))
def test_a_decoder_that_knows_the_layouts_reads_the_same(some: list[Flow], times: int) -> None:
    messages = [flow.message for flow in some]
    strings = Strings()
    decoder = ConntrackDecoder(strings)
    first = rows(decoder(batch(messages)), strings)
    again = rows(decoder(batch(messages * times)), strings)
    assert [row | {"ts_ns": 0} for row in again] == [row | {"ts_ns": 0} for row in first] * times


@given(flows(), st.data())
def test_damage_of_any_byte_never_raises_and_spares_the_others(flow: Flow, data: st.DataObject) -> None:
    damaged = bytearray(flow.message)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    decoded, _ = decode([udp(1), bytes(damaged), cut, udp(2)])
    kept = [int(record) for record in decoded.record]
    assert kept[0] == 0
    assert kept[-1] == 3
    assert int(decoded.cols["id"][0]) == 1
    assert int(decoded.cols["id"][-1]) == 2


@given(st.lists(st.binary(max_size=120).map(lambda body: nlmsg(0x100, body)), max_size=30))
def test_random_attributes_never_raise(messages: list[bytes]) -> None:
    decoded, _ = decode(messages)
    assert len(decoded.cols) + len(decoded.errors) == len(messages)


@pytest.mark.parametrize("keep", range(0, len(udp(1)) - 16, 3))
def test_a_message_cut_anywhere_is_an_error_or_a_shorter_message(keep: int) -> None:
    body = udp(1)[16 : 16 + keep]
    decoded, _ = decode([udp(7), nlmsg(0x100, body), udp(8)])
    assert len(decoded.cols) + len(decoded.errors) == 3
    assert good_rows(decoded)[0] == 7
    assert good_rows(decoded)[-1] == 8


def lie(offset: int, value: int) -> bytes:
    message = bytearray(udp(1))
    struct.pack_into("=H", message, offset, value)
    return bytes(message)


@pytest.mark.parametrize("offset", [20, 24, 28, 36, 44, 48])  # the headers of CTA_TUPLE_ORIG and within it
@pytest.mark.parametrize("value", [0, 3, 4096, 0xFFFF])
def test_an_attribute_length_that_lies_is_an_error_row_with_its_place(offset: int, value: int) -> None:
    decoded, _ = decode([udp(1), lie(offset, value), udp(2)] * 10, gap=3)
    assert len(decoded.errors) == 10
    assert set(decoded.errors.record.tolist()) == set(range(1, 30, 3))
    assert good_rows(decoded) == [1, 2] * 10
    assert set(decoded.errors.code.tolist()) <= {
        netlink.ERR_ATTRIBUTE_LENGTH,
        netlink.ERR_ATTRIBUTE_CUT,
        netlink.ERR_VALUE_SHORT,
    }


def test_a_value_shorter_than_the_kernel_makes_it_is_an_error_row() -> None:
    decoded, _ = decode([udp(1, nla(8, b"\1\2"))])
    assert decoded.errors.code.tolist() == [netlink.ERR_VALUE_SHORT]


def test_both_families_in_one_message_are_an_error_row() -> None:
    both = ct(nest(1, nest(1, nla(1, bytes(4)), nla(4, bytes(16))), nest(2, nla(1, b"\x06"))))
    decoded, _ = decode([both])
    assert decoded.errors.code.tolist() == [netlink.ERR_FAMILY]


def test_requests_expectations_and_control_messages_give_no_row() -> None:
    expectation = nlmsg(0x200, bytes(4) + nla(4, bytes(4)))
    done = nlmsg(NLMSG_DONE, bytes(4), 2)
    decoded, _ = decode([udp(1), udp(2), expectation, udp(3) + done, nlmsg(0xA00, bytes(4))], outgoing=[1])  # type: ignore[arg-type]
    assert good_rows(decoded) == [1, 3]
    assert not len(decoded.errors)


def test_an_empty_batch_gives_no_rows_but_the_columns_that_are_always_there() -> None:
    decoded, _ = decode([])
    assert len(decoded.cols) == 0
    assert {"event", "family", "proto", "have", "ts_ns", "osrc_lo", "rdport"} <= decoded.cols.data.keys()


def test_columns_have_their_dtypes_in_bulk_and_one_by_one() -> None:
    everything = (
        nla(3, be(4, 8))
        + nla(7, be(4, 1))
        + nla(8, be(4, 1))
        + nla(11, be(4, 1))
        + nla(18, be(2, 1))
        + nla(22, bytes(16))
    )
    more = nest(9, nla(1, be(8, 1)), nla(2, be(8, 1))) + nest(10, nla(3, be(4, 5)), nla(4, be(4, 6)))
    last = nest(20, nla(1, be(8, 1)), nla(2, be(8, 1))) + nest(4, nest(1, nla(1, b"\3"))) + nest(5, nla(1, b"ftp\0"))
    for times in (1, 50):
        decoded, _ = decode([udp(i, everything, more, last) for i in range(times)])
        found = {name: column.dtype for name, column in decoded.cols.data.items()}
        assert found == {name: np.dtype(FLOW_DTYPES[name]) for name in FLOW_DTYPES if not name.endswith("_hi")}
        assert decoded.cols["rpackets"].tolist() == [5] * times
        assert decoded.cols["rbytes"].tolist() == [6] * times


def test_high_halves_come_with_the_first_ipv6_row_and_are_zero_for_ipv4() -> None:
    assert "osrc_hi" not in decode([udp(1)])[0].cols
    address = nest(1, nla(3, b"\xfd" + bytes(15)), nla(4, b"\xfd" + bytes(14) + b"\2"))
    six = ct(nest(1, address, nest(2, nla(1, b"\x32"))), family=10)
    decoded, _ = decode([udp(1), six])
    assert decoded.cols["osrc_hi"].tolist() == [0, 0xFD << 56]
    assert decoded.cols["odst_lo"].tolist() == [0x0A010001, 2]
    assert decoded.cols["rsrc_hi"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("side", "bit"), [(1, c.HAVE_ZONE_ORIG_ONLY), (2, c.HAVE_ZONE_REPLY_ONLY)], ids=["original", "reply"]
)
def test_a_zone_of_one_direction_is_the_zone_and_says_which(side: int, bit: int) -> None:
    zoned = tuple4(side, 1, 2, 17, 3, 4)[4:] + nla(3, be(2, 9))
    both = [tuple4(1, 1, 2, 17, 3, 4), tuple4(2, 2, 1, 17, 4, 3)]
    both[side - 1] = nest(side, zoned)
    for times in (1, 20):
        decoded, _ = decode([ct(*both)] * times)
        assert decoded.cols["zone"].tolist() == [9] * times
        assert int(decoded.cols["have"][0]) & (c.HAVE_ZONE | bit) == c.HAVE_ZONE | bit


def test_event_times_beyond_int64_are_kept_in_range() -> None:
    for times in (1, 20):
        decoded, _ = decode([udp(1, nla(27, b"\xff" * 8))] * times)
        assert decoded.cols["ts_ns"].tolist() == [(1 << 63) - 1] * times


def test_of_an_attribute_that_comes_twice_the_last_counts_as_in_the_kernel() -> None:
    decoded, _ = decode([udp(1, nla(8, be(4, 5)), nla(8, be(4, 6)))])
    assert decoded.cols["mark"].tolist() == [6]


def test_a_helper_name_ends_at_its_nul_and_labels_do_not() -> None:
    label = b"\1" + bytes(14) + b"\0"
    for times in (1, 20):
        decoded, strings = decode([udp(i, nest(5, nla(1, b"ftp\0junk")), nla(22, label)) for i in range(times)])
        assert strings[int(decoded.cols["helper"][0])] == b"ftp"
        assert strings[int(decoded.cols["labels"][-1])] == label


def test_different_labels_in_one_layout_keep_apart() -> None:
    decoded, strings = decode([udp(i, nla(22, be(16, i))) for i in range(40)])
    assert [strings[int(code)] for code in decoded.cols["labels"]] == [be(16, i) for i in range(40)]


def strange(seed: int, count: int) -> list[bytes]:
    """Messages of one length, each of its own layout: unknown attributes cut the same room in different ways."""
    draw = random.Random(seed)
    found = []
    for i in range(count):
        room, parts = 400, []
        while room >= 8:
            size = min(room - 4, 4 * draw.randrange(1, 12))
            parts.append(nla(draw.randrange(100, 16000), bytes(size)))
            room -= 4 + size
        found.append(udp(i, *parts, bytes(0)))
    return [message for message in found if len(message) == len(found[0])]


def cost_of_one(messages: list[bytes]) -> float:
    """Processor seconds a message, the least of three runs, each of a decoder that has seen none."""
    ident = int(ConntrackDecoder(Strings())(batch(messages[-1:])).cols["id"][0])
    costs = []
    for _ in range(3):
        decoder, found = ConntrackDecoder(Strings()), batch(messages)
        begin = time.thread_time()
        decoded = decoder(found)
        costs.append((time.thread_time() - begin) / len(messages))
        assert good_rows(decoded)[-1] == ident
    return min(costs)


def test_hostile_layouts_neither_fill_the_memory_nor_cost_more_than_their_walk() -> None:
    strings = Strings()
    decoder = ConntrackDecoder(strings)
    small, large = strange(1, 400), strange(2, 3200)
    for seed in range(MAX_LAYOUTS // 8 + 4):  # past the limit of the cache
        decoder(batch(strange(10 + seed, 12)))
    assert len(decoder._layouts) <= MAX_LAYOUTS
    assert cost_of_one(large) < 4 * cost_of_one(small), "the cost of a message grows with their number"
    assert good_rows(decoder(batch([udp(i) for i in range(50)]))) == list(range(50))


def test_more_attributes_than_the_kernel_makes_are_an_error_row() -> None:
    decoded, _ = decode([udp(1, nla(99, b"") * 600), udp(2, bytes(70_000)), udp(3)])
    assert decoded.errors.code.tolist() == [netlink.ERR_TOO_LONG, netlink.ERR_TOO_LONG]
    assert good_rows(decoded) == [3]


def test_destroy_events_and_dumps_are_told_apart() -> None:
    decoded, _ = decode([udp(1, flags=0x600), udp(2, flags=0), udp(3, flags=0, kind=CT_DELETE), udp(4, flags=2)])
    assert decoded.cols["event"].tolist() == [c.EVENT_NEW, c.EVENT_UPDATE, c.EVENT_DESTROY, c.EVENT_DUMP]
