"""The devices that a capture request chooses."""

from __future__ import annotations

import pytest

from nettop.broker.requests import CaptureDevice
from nettop.errors import BrokerError
from nettop.pipeline.captures import CaptureRequest

LO, ETH, WG, VETH = (CaptureDevice(name, i, 1, True, 1500) for i, name in enumerate(("lo", "eth0", "wg0", "veth1"), 1))
DOWN, STAR = CaptureDevice("veth2", 5, 1, False, 1500), CaptureDevice("veth*", 6, 1, False, 1500)
PRESENT = [LO, ETH, WG, VETH, DOWN]


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        ((), [ETH, WG, VETH]),
        (("any",), [LO, ETH, WG, VETH]),
        (("eth0",), [ETH]),
        (("veth2", "eth0"), [ETH, DOWN]),  # a device named as such may be down: it is captured once it is up
        (("veth*",), [VETH]),
        (("[ew]*", "eth0"), [ETH, WG]),
        (("nothing*",), []),
    ],
)
def test_names_patterns_any_and_nothing(words: tuple[str, ...], chosen: list[CaptureDevice]) -> None:
    assert sorted(CaptureRequest(words).chosen(PRESENT), key=lambda device: device.ifindex) == chosen


def test_loopback_is_captured_where_nothing_else_is_up() -> None:
    assert CaptureRequest().chosen([LO, DOWN]) == [LO]


def test_a_device_of_that_very_name_is_meant_before_a_pattern() -> None:
    assert CaptureRequest(("veth*",)).chosen([VETH, STAR]) == [STAR]


def test_a_name_that_no_device_has_is_an_error_a_pattern_is_not() -> None:
    CaptureRequest(("veth*", "any", "eth0")).check(PRESENT)
    CaptureRequest(("x*",)).check(PRESENT)
    with pytest.raises(BrokerError, match="no device 'eth9'"):
        CaptureRequest(("eth0", "eth9")).check(PRESENT)
