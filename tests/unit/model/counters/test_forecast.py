"""When the table fills: said only of a trend that clearly rises, from given times."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nettop.model.counters.forecast import Trend, forecast, rounded_time

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND


def trend(*values: int, every: float = 1.0) -> Trend:
    made = Trend()
    for number, value in enumerate(values):
        made.add(T0 + int(number * every * SECOND), value)
    return made


def test_a_steady_rise_says_when_it_is_full_and_how_fast_it_rises() -> None:
    rising = trend(*range(38_800, 38_800 + 310 * 11, 310))
    assert rising.rising() == pytest.approx(310)
    assert rising.seconds_to(262_144) == pytest.approx((262_144 - 41_900) / 310)
    assert forecast(rising, 262_144) == "~12 min at +310/s"


@pytest.mark.parametrize(
    "values", [[], [5], [5, 400], [900, 800, 700, 600], [500] * 10, [100, 500, 100, 500, 100, 500]], ids=str
)
def test_nothing_is_said_of_what_falls_is_flat_swings_or_is_hardly_known(values: list[int]) -> None:
    assert forecast(trend(*values), 10_000) == "–"


def test_three_readings_in_a_moment_are_no_trend() -> None:
    assert trend(1, 2, 3, every=0.1).rising() is None
    assert trend(1, 2, 3, every=1.0).rising() == pytest.approx(1)


def test_churn_around_a_mean_is_no_trend() -> None:
    dice = random.Random(7)
    said = sum(trend(*(50_000 + dice.randint(-800, 800) for _ in range(30))).rising() is not None for _ in range(200))
    assert said <= 4


def test_a_rise_is_seen_through_noise() -> None:
    dice = random.Random(7)
    noisy = trend(*(10_000 + 310 * second + dice.randint(-300, 300) for second in range(30)))
    assert noisy.rising() == pytest.approx(310, rel=0.1)


def test_only_the_last_half_minute_counts() -> None:
    then_flat = trend(*range(0, 60_000, 1000), *[60_000] * 40)
    assert forecast(then_flat, 262_144) == "–"


def test_time_that_goes_back_begins_anew() -> None:
    made = trend(*range(0, 1000, 100))
    made.add(T0, 5)
    assert made.rising() is None


def test_what_is_months_away_is_not_said() -> None:
    assert forecast(trend(1, 2, 3, 4), 10**9) == "–"


def test_it_is_full_now() -> None:
    assert trend(0, 50, 100, 150).seconds_to(150) == 0


@pytest.mark.parametrize(
    ("seconds", "words"), [(4, "4 s"), (89, "89 s"), (90, "2 min"), (740, "12 min"), (7200, "2 h"), (260_000, "3 days")]
)
def test_times_are_said_as_a_person_says_them(seconds: float, words: str) -> None:
    assert rounded_time(seconds) == words


@given(st.lists(st.tuples(st.integers(0, 2**62), st.integers(0, 2**64)), max_size=40), st.integers(0, 2**64))
def test_any_readings_give_a_forecast_or_none(points: list[tuple[int, int]], limit: int) -> None:
    made = Trend()
    for ts_ns, value in points:
        made.add(ts_ns, value)
    assert forecast(made, limit)
