"""Trace records from the kernel's bytes, and from bytes that lie."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nettop.decode.nftables.trace import TraceDecoder, TraceRecord
from tests.unit.decode.netlink_bytes import batch, be, ct, nest, nla

# As Linux 6.18 sent them of an ICMP echo request of 100 bytes: `-A INPUT … -j L1`, `-A L3 -j DROP`, a policy.
JUMP = bytes.fromhex(
    "b8000000110a000000000000000000000200000008000f00000000020800040000000003080006001728d4d60a000200494e505554000000"
    "0b00010066696c74657200000c00030000000000000000051400050008000100fffffffd070002004c31000008000a000000000206000b00"
    "0001000018000800450000648d344000400199580a0500010a0500021800090008008de60398000145f90c6b0000000050470b0012000700"
    "1664d7c36ce6e673dda3296d08000000"
)
DROP = bytes.fromhex(
    "58000000110a000000000000000000000200000008000f00000000020800040000000003080006001728d4d6070002004c3300000b000100"
    "66696c74657200000c00030000000000000000080c0005000800010000000000"
)
POLICY = bytes.fromhex(
    "50000000110a000000000000000000000100000008000f00000000020800040000000001080006001728d4d60a000200696e707574000000"
    "0d0001006e6574746f702d78000000000800100000000001"
)
TRACE = 0xA11


def test_what_the_kernel_sent_is_read() -> None:
    jump, drop, policy = TraceDecoder()(batch([JUMP, DROP, POLICY])).records
    assert (jump.ts_ns, drop.ts_ns) == (1000, 1001)
    assert (jump.id, jump.family, jump.table, jump.chain, jump.handle) == (0x1728D4D6, "ip", "filter", "INPUT", 5)
    assert (jump.type, jump.verdict, jump.target, jump.iif, jump.oif) == ("rule", "jump", "L1", 2, None)
    assert jump.network[12:16] == bytes([10, 5, 0, 1]) and jump.transport[:2] == b"\x08\x00" and jump.protocol == 2
    assert (drop.chain, drop.handle, drop.verdict, drop.network) == ("L3", 8, "drop", b"")
    assert (policy.family, policy.type, policy.verdict, policy.handle) == ("inet", "policy", "accept", None)


def record(*more: bytes) -> TraceRecord:
    (found,) = TraceDecoder()(batch([ct(nla(6, be(4, 1)), nla(4, be(4, 3)), *more, kind=TRACE)])).records
    return found


def test_verdicts_and_numbers_that_have_no_name() -> None:
    assert record(nest(5, nla(1, be(4, 3 | 7 << 16)))).verdict == "queue", "above the verdict is the queue's number"
    assert record(nest(5, nla(1, be(4, 99)))).verdict == "99"
    assert record(nest(5, nla(1, b"\xff\xff\xff\x00"))).verdict == "-256"
    assert record().verdict == "" and record().chain == ""
    assert record(nla(18, be(4, 77)), nla(21, be(4, 8)), nla(14, be(4, 5))).ct_id == 77


def test_other_messages_and_our_own_requests_are_no_records() -> None:
    assert not TraceDecoder()(batch([ct(kind=0xA06), JUMP], outgoing=[1])).records


def test_bytes_that_lie_are_errors_and_what_follows_is_read() -> None:
    short = ct(nla(6, be(4, 1)), kind=TRACE)
    found = TraceDecoder()(batch([short, JUMP[:-3], ct(nla(6, be(2, 1)), nla(4, be(4, 3)), kind=TRACE), DROP]))
    assert len(found.errors.offset) == 3 and [one.chain for one in found.records] == ["L3"]


@given(st.binary(max_size=120), st.integers(0, len(JUMP)))
def test_no_bytes_raise(noise: bytes, at: int) -> None:
    TraceDecoder()(batch([JUMP[:at] + noise + JUMP[at + len(noise) :], noise, ct(noise, kind=TRACE)]))


@given(st.sampled_from((JUMP, DROP, POLICY)), st.data())
def test_a_record_that_differs_from_an_earlier_one_is_read_as_what_it_is(known: bytes, data: st.DataObject) -> None:
    decoder, changed = TraceDecoder(), bytearray(known)
    decoder(batch([known]))
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(16, len(changed) - 1))] = data.draw(st.integers(0, 255))
    found, fresh = decoder(batch([bytes(changed)])), TraceDecoder()(batch([bytes(changed)]))
    assert found.records == fresh.records and found.errors.code.tolist() == fresh.errors.code.tolist()


def test_the_next_packet_on_the_same_way_has_its_own_numbers_and_headers() -> None:
    def of(number: int, network: bytes) -> bytes:
        more = (nla(18, be(4, number)), nla(21, be(4, 8)), nla(14, be(4, number)), nla(8, network), nla(9, network))
        return ct(nla(6, be(4, number)), nla(4, be(4, 1)), nla(1, b"t"), *more, kind=TRACE)

    one, other = TraceDecoder()(batch([of(3, b"abcd"), of(4, b"efgh")])).records
    assert (other.id, other.mark, other.ct_id, other.table) == (4, 4, 4, "t")
    assert {one.network, one.transport, other.network} == {b"abcd", b"efgh"} and other.network == b"efgh"
