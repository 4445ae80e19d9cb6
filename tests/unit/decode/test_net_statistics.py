"""The text of a namespace's /proc statistics: what stands in it is read, what is broken is counted and passed over."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nettop.decode.net_statistics import NfLogGroup, NfQueue, SoftnetCpu, decode_net_statistics

TEXT = b"""== /proc/net/snmp
Ip: Forwarding DefaultTTL InReceives InDiscards
Ip: 1 64 14508 3
Tcp: RtoAlgorithm MaxConn RetransSegs
Tcp: 1 -1 18446744073709551615
== /proc/net/snmp6
Ip6InReceives                   \t7
Ip6OutDiscards                  \t1
== /proc/net/netstat
TcpExt: SyncookiesSent ListenDrops
TcpExt: 0 12
== /proc/net/softnet_stat
04acfc4a 00000001 00000008 00000000 00000000 00000000 00000000 00000000 00000000 00000002 00000003 00000004 00000000 0 0
04fe1d90 00000000 00000005 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000007 0 0
== /proc/net/netfilter/nfnetlink_queue
    3   4242     5 2 65531     6     7        8  1
== /proc/net/netfilter/nfnetlink_log
    2   4242     1 2 65535    100  1
"""


def test_every_file_is_read() -> None:
    found = decode_net_statistics(TEXT, 5)
    assert found.ts_ns == 5
    assert found.counters == {
        "IpForwarding": 1, "IpDefaultTTL": 64, "IpInReceives": 14508, "IpInDiscards": 3, "TcpRtoAlgorithm": 1,
        "TcpRetransSegs": 2**64 - 1, "Ip6InReceives": 7, "Ip6OutDiscards": 1, "TcpExtSyncookiesSent": 0,
        "TcpExtListenDrops": 12,
    }  # fmt: skip
    assert found.softnet == [SoftnetCpu(0, 0x04ACFC4A, 1, 8, 2, 3, 4), SoftnetCpu(7, 0x04FE1D90, 0, 5, 0, 0, 0)]
    assert found.queues == [NfQueue(3, 4242, 5, 2, 65531, 6, 7, 8)]
    assert found.logs == [NfLogGroup(2, 4242, 1, 2, 65535, 100)]


def test_files_that_are_missing_and_files_that_are_empty_are_not_the_same() -> None:
    assert decode_net_statistics(b"", 0).queues is None
    assert decode_net_statistics(b"== /proc/net/netfilter/nfnetlink_queue\n", 0).queues == []


def test_old_kernels_have_shorter_softnet_lines() -> None:
    found = decode_net_statistics(b"== /proc/net/softnet_stat\n0000000a 00000001 00000002 00000000\n0000000b 1 2\n", 0)
    assert found.softnet == [SoftnetCpu(0, 10, 1, 2), SoftnetCpu(1, 11, 1, 2)]


def test_what_is_broken_is_skipped_and_the_rest_is_read() -> None:
    text = (
        b"== /proc/net/snmp\nIp: A B\nIp: 1\nUdp: NoPorts\nTcp: 5\nIcmp: InErrors\nIcmp: 4\nIcmp: late\n"
        b"== /proc/net/snmp6\nIp6X y\nIp6Y\t\xb2\n== /proc/net/softnet_stat\n0x1 2 3\n-1 2 3\nzz\n"
        b"== /proc/net/netfilter/nfnetlink_queue\n1 2 3\n1 2 3 4 5 6 7 eight\n == no\n"
        b"== /etc/shadow\nroot: 1\nroot: 2\n"
    )
    found = decode_net_statistics(text, 0)
    assert found.counters == {"IcmpInErrors": 4}
    assert found.softnet == [] and found.queues == []


def test_numbers_of_a_thousand_digits_are_no_numbers() -> None:
    found = decode_net_statistics(b"== /proc/net/snmp6\nIp6InDiscards\t" + b"9" * 100_000, 0)
    assert found.counters == {}


def test_a_cpu_that_no_host_has_is_none() -> None:
    """Each would be a row for good: a text of 1 MB made 200,000 of them."""
    line = b"1 2 3 0 0 0 0 0 0 5 6 7 %x\n"
    found = decode_net_statistics(b"== /proc/net/softnet_stat\n" + line % 8191 + line % 8192 + line % 0xFFFFFFFF, 0)
    assert [cpu.cpu for cpu in found.softnet] == [8191]


@given(st.binary(max_size=400))
def test_any_bytes_are_a_text(body: bytes) -> None:
    decode_net_statistics(body, 0)


LINES = st.lists(st.sampled_from([line + b"\n" for line in TEXT.splitlines()]) | st.binary(max_size=30), max_size=40)


@given(LINES)
def test_any_order_of_lines_is_read_without_an_error(lines: list[bytes]) -> None:
    found = decode_net_statistics(b"".join(lines), 0)
    assert all(0 <= value < 10**20 for value in found.counters.values())
