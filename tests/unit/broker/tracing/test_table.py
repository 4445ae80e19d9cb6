"""The transaction that makes a tracing table: nothing but what traces goes into it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nettop.broker.requests import PacketMatch, PacketTest, StartTrace
from nettop.broker.tracing import table as trace_table
from nettop.errors import BrokerError

TCP = PacketTest("meta", 16, 1, 6, 6, 0xFF, True)


def asked(matches: tuple[PacketMatch, ...], per_second: int = 50) -> StartTrace:
    return StartTrace(0, matches, per_second, 60, False, False)


@pytest.mark.parametrize(
    "test",
    [
        replace(TCP, of="link"),
        replace(TCP, of="meta", at=3),  # the mark
        replace(TCP, size=2),
        replace(TCP, first=7),
        replace(TCP, first=-1),
        replace(TCP, last=256),
        replace(TCP, mask=0),
        replace(TCP, of="network", size=3),
        replace(TCP, of="transport", at=-1),
        replace(TCP, of="device", size=4),
    ],
)
def test_a_test_that_no_trace_makes_is_refused(test: PacketTest) -> None:
    with pytest.raises(BrokerError, match="not on the list"):
        trace_table.batch("nettop-1", asked((PacketMatch((test,)),)), ())


def test_the_numbers_of_a_trace_have_limits() -> None:
    match = PacketMatch((TCP,))
    for matches, rate in (((), 50), ((match,) * 257, 50), ((match,), 0), ((match,), 10_001)):
        with pytest.raises(BrokerError, match="not on the list" if rate == 50 else "give 1 to 10000"):
            trace_table.batch("nettop-1", asked(matches, rate), ())
    with pytest.raises(BrokerError, match="33 tests"):
        trace_table.batch("nettop-1", asked((PacketMatch((TCP,) * 33),)), ())
