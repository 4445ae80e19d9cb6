"""The element of a verdict map that a traced packet met, by its verdict and the packet's own values."""

from __future__ import annotations

import pytest

from nettop.decode.nftables.members import MapValue
from nettop.decode.nftables.trace import TraceRecord
from nettop.model.ruleset.sets.contents import VerdictBranch
from nettop.model.traces.elements import element_met
from nettop.model.traces.headers import packet_head
from nettop.model.traces.journey import Step
from tests.unit.model.traces.test_journeys import PORTS, UDP


def step(verdict: str, target: str = "") -> Step:
    record = TraceRecord(0, 1, "inet", "fw", "in", 9, "rule", verdict, target)
    return Step(record, "input", (), packet_head(UDP, PORTS), "eth0", None)


def branch(key: str, text: str) -> VerdictBranch:
    verdict, _, target = text.partition(" ")
    return VerdictBranch(key, MapValue(text, verdict, target))


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        (("53",), "53 in @m"),
        (("22", "53"), "53 in @m"),
        (("10.0.0.0/8", "192.168.0.0/16"), "10.0.0.0/8 in @m"),
        (("10.0.0.2-10.0.0.9", "10.0.1.0/24"), "10.0.0.2-10.0.0.9 in @m"),
        (("50-60", "1-9"), "50-60 in @m"),
        (("10.0.0.1 . 53", "10.0.0.8 . 53"), "10.0.0.1 . 53 in @m"),
        (("eth0", "eth1"), "eth0 in @m"),
        (("22", "*"), "* in @m"),
        (("22", "23"), ""),
        (("53", "10.0.0.1"), ""),
        ((), ""),
    ],
)
def test_the_element_with_the_verdict_that_holds_a_value_of_the_packet(keys: tuple[str, ...], found: str) -> None:
    maps = [("m", (*(branch(key, "jump web") for key in keys), branch("53", "accept")))]
    assert element_met(step("jump", "web"), maps) == found
