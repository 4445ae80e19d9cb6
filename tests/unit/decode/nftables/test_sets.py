"""Sets and their elements from bytes: in bulk what a walk would find, for every layout, and nothing of what lies."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nettop.decode.nftables.elements import NEVER, ElementReader, Elements
from nettop.decode.nftables.sets import NftSet, NftSetsDecoder
from nettop.linux.netlink import MalformedError
from nettop.linux.nf_tables import NFT_SET_ELEM_CATCHALL, NFT_SET_ELEM_INTERVAL_END
from tests.unit.decode.netlink_bytes import batch, be, ct, nla, nlmsg
from tests.unit.decode.nftables.set_bytes import NEWSET, NEWSETELEM, a_set, counter, element, elements

# As Linux 6.18 answered for `set s1 { type ipv4_addr . inet_service; size 1000; flags dynamic,timeout; counter; … }`.
KERNEL_LIST = bytes.fromhex(
    "4c000100100001000c00010001020304005000002c0007000c000100636f756e746572001c0002000c00010000000000000000000c000200"
    "00000000000000000c000500000000000036edfc58000100100001000c0001000506070801bb00002c0007000c000100636f756e74657200"
    "1c0002000c00010000000000000000000c00020000000000000000000c00040000000000000927c00c000500000000000009273c"
)


def test_what_the_kernel_sent_is_read() -> None:
    (found,) = ElementReader().read(KERNEL_LIST, 0, len(KERNEL_LIST))
    assert [key.tobytes().hex() for key in found.keys] == ["0102030400500000", "0506070801bb0000"]
    assert found.counted.all() and not found.packets.any() and not found.flags.any()
    assert found.expires_ms.tolist() == [0x36EDFC, 0x09273C]


def test_sets_say_what_they_are() -> None:
    expression = nla(1, b"counter\0") + nla(2, nla(1, be(8, 0)) + nla(2, be(8, 0)))
    more = (
        nla(3, be(4, 0x30)), nla(9, nla(1, be(4, 1000))), nla(11, be(8, 3_600_000)), nla(16, be(8, 7)),
        nla(17, expression), nla(20, be(4, 2)), nla(13, b"\0\4\2\0\0\0" + b"\7\3hi\0"),
    )  # fmt: skip
    verdicts = a_set("m", 7, 4, nla(3, be(4, 8)), nla(6, be(4, 0xFFFFFF00)), nla(7, be(4, 16)))
    to_counters = a_set("o", 7, 4, nla(3, be(4, 0x40)), nla(15, be(4, 1)), family=2)
    found = NftSetsDecoder()(batch([a_set("s1", 461, 8, *more) + verdicts, to_counters]))
    assert found.sets == [
        NftSet("inet", "t", "s1", 7, 0x30, 461, 8, "", 1000, 2, 3_600_000, True, "hi"),
        NftSet("inet", "t", "m", 0, 8, 7, 4, "verdicts", None, None, None, False, None),
        NftSet("ip", "t", "o", 0, 0x40, 7, 4, "counter", None, None, None, False, None),
    ]
    assert found.ts_ns == 1001


def test_elements_come_by_set_and_a_set_without_any_is_named() -> None:
    one = elements(element(be(4, 1), counter(3, 4)), name="a")
    found = NftSetsDecoder()(batch([one + elements(name="empty"), elements(element(be(4, 2)), name="a")], outgoing=[]))
    assert [(of, None if part is None else len(part)) for of, part in found.elements] == [
        (("inet", "t", "a"), 1), (("inet", "t", "empty"), None), (("inet", "t", "a"), 1),
    ]  # fmt: skip


def test_requests_of_ours_are_no_answers() -> None:
    found = NftSetsDecoder()(batch([elements(element(be(4, 1)))], outgoing=[0]))
    assert found.elements == []


def test_a_message_that_lies_is_an_error_and_the_next_is_read() -> None:
    bad = elements(b"\xff\xff\1\0" + bytes(8))
    nameless = ct(nla(3, element(be(4, 1))), kind=NEWSETELEM, family=1)
    found = NftSetsDecoder()(batch([bad, nameless, elements(element(be(4, 9)))]))
    assert [len(part) for _, part in found.elements if part] == [1]
    assert found.errors.record.tolist() == [0, 1]


ELEMENT = st.tuples(  # key, count, flags, timeout, expires, comment, end, noise
    st.sampled_from([2, 4, 8, 16]).flatmap(lambda size: st.binary(min_size=size, max_size=size)),
    st.none() | st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)),
    st.sampled_from([0, NFT_SET_ELEM_INTERVAL_END]),
    st.booleans(),
    st.none() | st.integers(0, 2**64 - 2),
    st.binary(max_size=9),
    st.booleans(),
    st.sampled_from([b"", nla(9, b"object\0"), nla(7, nla(1, b"limit\0") + nla(2, nla(2, bytes(8)))), nla(77, b"new")]),
)  # fmt: skip


def built(key, count, flags, timeout, expires, comment, end, noise) -> bytes:  # type: ignore[no-untyped-def]
    more = [noise]
    more += [nla(3, be(4, flags))] if flags else []
    more += [counter(*count)] if count else []
    more += [nla(4, be(8, 60_000))] if timeout else []
    more += [nla(5, be(8, expires))] if expires is not None else []
    more += [nla(6, b"\0" + bytes([len(comment)]) + comment)] if comment else []
    return element(key, *more, end=key[::-1] if end else None)


@given(st.lists(ELEMENT, max_size=30), st.integers(1, 4))
def test_in_bulk_everything_is_what_was_put_in(wanted, times) -> None:  # type: ignore[no-untyped-def]
    wanted = wanted * times
    data = b"".join(built(*one) for one in wanted)
    parts = ElementReader().read(data, 0, len(data))
    for part in parts:
        size = part.keys.shape[1]
        same = [one for one in wanted if len(one[0]) == size]
        assert [key.tobytes() for key in part.keys] == [one[0] for one in same]
        assert [key.tobytes() for key in part.ends] == [one[0][::-1] if one[6] else one[0] for one in same]
        assert part.flags.tolist() == [one[2] for one in same]
        assert part.counted.tolist() == [one[1] is not None for one in same]
        assert part.packets.tolist() == [one[1][0] if one[1] else 0 for one in same]
        assert part.octets.tolist() == [one[1][1] if one[1] else 0 for one in same]
        assert part.expires_ms.tolist() == [int(NEVER) if one[4] is None else one[4] for one in same]
    assert sum(map(len, parts)) == len(wanted)


def test_a_hundred_thousand_alike_take_one_layout() -> None:
    data = b"".join(element(be(4, n), counter(n, 2 * n)) for n in range(20_000))
    reader = ElementReader()
    (part,) = reader.read(data, 0, len(data))
    assert part.packets.tolist() == list(range(20_000)) and part.octets[-1] == 39_998
    assert [len(known) for known in reader._layouts.values()] == [1]


def test_a_message_with_a_thousand_layouts_is_refused_not_waited_for() -> None:
    data = b"".join(nla(1, nla(100 + n, b"x")) for n in range(1000))
    with pytest.raises(MalformedError):
        ElementReader().read(data, 0, len(data))


def test_counters_in_a_list_of_expressions_are_found() -> None:
    listed = nla(11, nla(1, nla(1, b"limit\0") + nla(2, b"")) + nla(1, counter(5, 6)[4:]))
    data = element(be(4, 1), listed)
    (part,) = ElementReader().read(data, 0, len(data))
    assert (part.packets.tolist(), part.octets.tolist()) == ([5], [6])


def test_the_catch_all_has_no_key() -> None:
    data = nla(1, nla(3, be(4, NFT_SET_ELEM_CATCHALL)) + counter(5, 6))
    (part,) = ElementReader().read(data, 0, len(data))
    assert part.keys.shape == (1, 0) and part.flags.tolist() == [NFT_SET_ELEM_CATCHALL] and part.packets.tolist() == [5]


def test_parts_join() -> None:
    one, two = (ElementReader().read(data, 0, len(data))[0] for data in (element(b"abcd"), element(b"efgh")))
    whole = Elements.join([one, two])
    assert whole.keys.tobytes() == b"abcdefgh" and len(whole) == 2


@given(st.lists(st.tuples(st.sampled_from([NEWSET, NEWSETELEM, 3]), st.binary(max_size=120)), max_size=9))
def test_random_messages_never_raise(answers: list[tuple[int, bytes]]) -> None:
    found = NftSetsDecoder()(batch([nlmsg(kind, body) for kind, body in answers]))
    assert len(found.sets) + len(found.errors) <= 2 * len(answers)


@given(st.binary(max_size=300))
def test_random_lists_of_elements_are_read_or_refused(data: bytes) -> None:
    found = NftSetsDecoder()(batch([elements(data)]))
    rows = sum(len(part) for _, part in found.elements if part is not None)
    assert rows == 0 or not len(found.errors)


@given(st.lists(ELEMENT, min_size=1, max_size=5), st.data())
def test_one_flipped_byte_never_raises(wanted, data) -> None:  # type: ignore[no-untyped-def]
    raw = bytearray(b"".join(built(*one) for one in wanted))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    found = NftSetsDecoder()(batch([elements(bytes(raw))]))
    assert all(np.all(part.expires_ms >= 0) for _, part in found.elements if part is not None)


def test_a_key_that_no_kernel_has_is_refused() -> None:
    """One of 2 kB would be a number of 4,900 digits, one of 60 kB room for as much beside each of its neighbours."""
    assert len(NftSetsDecoder()(batch([elements(element(bytes(64)))])).errors) == 0
    for bad in (element(bytes(65)), element(bytes(4), end=bytes(65))):
        found = NftSetsDecoder()(batch([elements(element(bytes(4)), bad)]))
        assert len(found.errors) == 1 and not found.elements


def test_layouts_of_no_kernel_are_not_kept() -> None:
    reader = ElementReader()
    tracemalloc.start()
    try:
        for count in range(1000, 1060):
            one = nla(1, b"".join(nla(100 + number, b"") for number in range(count)))
            reader.read(one * 2, 0, 2 * len(one))
        assert tracemalloc.get_traced_memory()[0] < 1 << 20
    finally:
        tracemalloc.stop()
