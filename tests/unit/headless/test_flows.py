"""When `nettop flows` has read enough, and what it can be sorted by."""

from __future__ import annotations

import pytest

from nettop.batch import DumpMark
from nettop.errors import UsageError
from nettop.headless.flows import Enough, sort_keys
from nettop.model.view import SortKey


def end(complete: bool) -> DumpMark:
    return DumpMark(1, 0, 0, "conntrack", False, complete)


def test_rates_take_two_complete_dumps() -> None:
    enough = Enough(2)
    told = [enough(item) for item in (DumpMark(1, 0, 0, "conntrack", True), end(True), end(False), end(True))]
    assert told == [False, False, False, True]


def test_a_table_that_never_stands_still_does_not_keep_us() -> None:
    enough = Enough(2)
    assert any(enough(end(False)) for _ in range(10))


def test_sort_keys_are_columns_and_the_names_of_the_contract() -> None:
    assert sort_keys("bytes,+reply_packets") == (SortKey("bytes"), SortKey("reply_packets", descending=False))
    with pytest.raises(UsageError, match="no sort key 'beauty'"):
        sort_keys("beauty")
