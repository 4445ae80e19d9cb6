from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nettop.decode.netlink import split
from nettop.linux import netlink
from nettop.linux.netlink import NLM_F_MULTI, MalformedError, attributes
from tests.unit.decode.netlink_bytes import batch, nla, nlmsg


def plain_split(datagram: bytes) -> tuple[list[int], int]:
    """Message offsets and the error code of one datagram, message by message: what split must say in bulk."""
    found, at = [], 0
    if len(datagram) < 16:
        return found, netlink.ERR_SHORT_DATAGRAM
    while len(datagram) - at >= 16:
        (length,) = struct.unpack_from("=I", datagram, at)
        if length < 16:
            return found, netlink.ERR_MESSAGE_LENGTH
        if length > len(datagram) - at:
            return found, netlink.ERR_MESSAGE_CUT
        found.append(at)
        at += (length + 3) // 4 * 4
    return found, netlink.ERR_MESSAGE_CUT if len(datagram) - at > 3 else 0


MESSAGE = st.builds(
    lambda size, kind, flags: nlmsg(kind, bytes(size), flags),
    st.sampled_from([0, 4, 20, 21, 220]),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFF),
)
RUN = st.builds(lambda one, times: one * times, MESSAGE.filter(lambda m: len(m) % 4 == 0), st.integers(1, 150))
DATAGRAM = st.lists(st.one_of(MESSAGE.map(lambda m: m + bytes(-len(m) % 4)), RUN), max_size=4).map(b"".join)
DAMAGED = st.builds(
    lambda data, cut, at, value: (data[:at] + bytes([value]) + data[at + 1 :])[: max(0, len(data) - cut)],
    DATAGRAM,
    st.integers(0, 40),
    st.integers(0, 400),
    st.integers(0, 255),
)


@given(st.lists(st.one_of(DATAGRAM, DAMAGED, MESSAGE, st.binary(max_size=60)), max_size=6), st.integers(0, 9))
def test_split_finds_the_messages_a_plain_walk_finds(datagrams: list[bytes], gap: int) -> None:
    given_batch = batch(datagrams, gap)
    messages = split(given_batch)
    expected, errors = [], []
    for record, datagram in enumerate(datagrams):
        offsets, code = plain_split(datagram)
        for at in offsets:
            length, kind, flags = struct.unpack_from("=IHH", datagram, at)
            expected.append((record, int(given_batch.off[record]) + at, length, kind, flags))
        if code:
            errors.append((record, code))
    rows = zip(messages.record, messages.offset, messages.length, messages.kind, messages.flags, strict=True)
    assert [tuple(int(value) for value in row) for row in rows] == expected
    found = zip(messages.errors.record, messages.errors.code, strict=True)
    assert [(int(record), int(code)) for record, code in found] == errors


def test_an_error_tells_where_in_the_buffer_it_is() -> None:
    messages = split(batch([nlmsg(20, b""), nlmsg(20, b"") + nlmsg(20, b"", length=99)], gap=5))
    assert len(messages) == 2
    assert messages.errors.offset.tolist() == [5 + 16 + 5 + 16]
    assert netlink.ERROR_TEXT[int(messages.errors.code[0])] == "message longer than its datagram"


def test_every_error_code_has_words() -> None:
    codes = {value for name, value in vars(netlink).items() if name.startswith("ERR_")}
    assert codes == set(netlink.ERROR_TEXT)


def test_a_dump_that_was_interrupted_says_so() -> None:
    whole = [nlmsg(0x100, bytes(20), NLM_F_MULTI)]
    assert not (split(batch(whole)).flags & netlink.NLM_F_DUMP_INTR).any()
    found = split(batch([*whole, nlmsg(0x100, bytes(20), NLM_F_MULTI | netlink.NLM_F_DUMP_INTR)]))
    assert (found.flags & netlink.NLM_F_DUMP_INTR).any()


def test_a_record_that_points_behind_the_buffer_is_cut_not_read() -> None:
    given_batch = batch([nlmsg(20, bytes(8))])
    given_batch.caplen[0] = 4000
    assert len(split(given_batch)) == 1
    given_batch.off[0] = 5000
    assert split(given_batch).errors.code.tolist() == [netlink.ERR_SHORT_DATAGRAM]


def test_attributes_are_read_without_their_flag_bits() -> None:
    data = nla(5, b"ab") + nla(6, b"", nested=True)
    assert list(attributes(data, 0, len(data))) == [(5, 4, 6), (6, 12, 12)]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (struct.pack("=HH", 3, 1), netlink.ERR_ATTRIBUTE_LENGTH),
        (struct.pack("=HH", 0, 1), netlink.ERR_ATTRIBUTE_LENGTH),
        (struct.pack("=HH", 9, 1) + bytes(4), netlink.ERR_ATTRIBUTE_CUT),
        (b"\x01\x02", netlink.ERR_ATTRIBUTE_CUT),
    ],
)
def test_attributes_whose_lengths_lie_end_the_list(data: bytes, code: int) -> None:
    with pytest.raises(MalformedError) as caught:
        list(attributes(data, 0, len(data)))
    assert caught.value.code == code
