"""Values of options: numbers with units, as filters take them."""

from __future__ import annotations

import argparse

import pytest

from nettop.arguments import count, factor, seconds


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("60k", 60_000), ("64M", 64_000_000), ("1Gi", 1 << 30), ("1.5k", 1500), ("64MB", 64_000_000)],
)
def test_a_count_takes_the_units_of_sizes(text: str, value: int) -> None:
    assert count(text) == value


@pytest.mark.parametrize("text", ["0", "-1", "", "x", "1.5", "1e3", "5000P", "1 k", "٣", "10s"])
def test_what_is_no_count(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a positive number"):
        count(text)


@pytest.mark.parametrize(("text", "value"), [("10", 10), ("2.5", 2.5), ("10s", 10), ("1h30m", 5400), ("250ms", 0.25)])
def test_seconds_take_the_units_of_durations(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["0", "0s", "-1", "", "nan", "inf", "1e9", "999999999999", "10k", "10 s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a positive number"):
        seconds(text)


def test_a_factor() -> None:
    assert (factor("2"), factor("0.5x")) == (2, 0.5)
