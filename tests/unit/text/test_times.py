"""The times at the beginning of lines."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

from nettop.errors import UsageError
from nettop.kinds import NO_TIME
from nettop.text.times import TimeTexts

DAY = 86_400 * 10**9
AT = 1_700_000_000 * 10**9 + 123_456_789  # 2023-11-14 22:13:20 UTC


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("form", "texts"),
    [
        ("time", ["22:13:20.123456", "22:13:21.623456"]),
        ("a", ["22:13:20.123456", "22:13:21.623456"]),
        ("date", ["2023-11-14 22:13:20.123456", "2023-11-14 22:13:21.623456"]),
        ("tttt", ["2023-11-14 22:13:20.123456", "2023-11-14 22:13:21.623456"]),
        ("ad", ["2023-11-14 22:13:20.123456", "2023-11-14 22:13:21.623456"]),
        ("ud", ["2023-11-14 22:13:20.123456", "2023-11-14 22:13:21.623456"]),
        ("epoch", ["1700000000.123456", "1700000001.623456"]),
        ("delta", ["0.000000", "1.500000"]),
        ("ttt", ["0.000000", "1.500000"]),
        ("relative", ["0.000000", "1.500000"]),
        ("none", ["", ""]),
        ("t", ["", ""]),
        ("auto", ["22:13:20.123456", "22:13:21.623456"]),
    ],
)
def test_each_format(form: str, texts: list[str]) -> None:
    assert TimeTexts(form)(np.array([AT, AT + 1_500_000_000]), 6) == texts


def test_what_earlier_lines_showed_counts_for_delta_and_relative() -> None:
    delta, relative = TimeTexts("delta"), TimeTexts("r")
    for texts in (delta, relative):
        texts(np.array([AT, AT + 10]), 9)
    assert delta(np.array([AT + 30, AT + 20]), 9) == ["0.000000020", "-0.000000010"]
    assert relative(np.array([AT + 30]), 9) == ["0.000000030"]


def test_the_date_is_shown_as_soon_as_there_are_several_days() -> None:
    texts = TimeTexts()
    assert texts(np.array([AT]), 3) == ["22:13:20.123"]
    assert texts(np.array([AT + DAY]), 3) == ["2023-11-15 22:13:20.123"]
    assert texts(np.array([AT + DAY + 1]), 3) == ["2023-11-15 22:13:20.123"]
    assert TimeTexts()(np.array([AT, AT - DAY]), 0 + 3)[0] == "2023-11-14 22:13:20.123"


def test_a_record_without_a_time_has_a_dash() -> None:
    assert TimeTexts()(np.array([NO_TIME, AT]), 6) == ["–", "22:13:20.123456"]
    assert TimeTexts("delta")(np.array([NO_TIME, NO_TIME]), 6) == ["–", "–"]


@pytest.mark.parametrize("form", ["auto", "date", "epoch", "relative", "utc"])
def test_every_64_bit_time_has_a_text(form: str) -> None:
    assert len(TimeTexts(form)(np.array([-(1 << 62), 0, (1 << 63) - 1]), 9)) == 3


def test_an_unknown_format_names_those_there_are() -> None:
    with pytest.raises(UsageError, match="time date utc"):
        TimeTexts("iso")
