"""Drop texts: counts and records as they were, and any bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nettop.batch import Text
from nettop.decode.drops import DropCount, DropRecord, decode_drop_counts, decode_drop_records
from nettop.kinds import TextKind


def text(body: bytes, error: str = "") -> Text:
    return Text(0, 0, 5, TextKind.DROPS, body, error)


def test_counts_have_the_kernels_names() -> None:
    found = decode_drop_counts(text(b"since 3\nlost 2\nIP_RPFILTER ip_rcv_finish_core 0x0800 4\n77 - 0x86dd 1\n"))
    assert (found.ts_ns, found.since_ns, found.lost) == (5, 3, 2)
    assert found.counts == [DropCount("IP_RPFILTER", "ip_rcv_finish_core", 0x0800, 4), DropCount("77", "", 0x86DD, 1)]


def test_a_record_has_its_device_where_it_was_received() -> None:
    found = decode_drop_records(text(b"lost 1\n9 NO_SOCKET __udp4_lib_rcv 0x0800 31 lan0\n10 XDP - 0x0800 - -\n"))
    assert found.lost == 1
    assert found.records == [
        DropRecord(9, "NO_SOCKET", "__udp4_lib_rcv", 0x0800, 31, "lan0"),
        DropRecord(10, "XDP", "", 0x0800),
    ]


def test_an_error_is_kept() -> None:
    for failed in (text(b"", "no right"), text(b"missing no right\n")):
        assert decode_drop_counts(failed).error == decode_drop_records(failed).error == "no right"


LINES = st.lists(
    st.lists(st.sampled_from(["since", "lost", "-", "7", "-1", "0x0800", "x", "é", "9" * 30]), max_size=7).map(" ".join)
)


@given(st.binary() | LINES.map(lambda lines: "\n".join(lines).encode()))
def test_no_bytes_raise(body: bytes) -> None:
    for found in (decode_drop_counts(text(body)), decode_drop_records(text(body))):
        assert found.lost >= 0


def test_malformed_lines_do_not_hide_the_others() -> None:
    found = decode_drop_counts(text(b"since\nlost -1\nA f 0x0800 x\nB f zz 1\nC f 0x0800 1\n\xff\n"))
    assert [one.reason for one in found.counts] == ["C"]
