"""When `nettop flows` has read enough, and what it can be sorted by."""

from __future__ import annotations

import pytest

from nettop import cli
from nettop.batch import DumpMark
from nettop.errors import UsageError
from nettop.headless.flows import EnoughDumps, run, sort_keys
from nettop.headless.missing_data import NO_PROCESSES
from nettop.model.table import SortKey
from tests.unit.test_captures import CAPTURES


def end(complete: bool) -> DumpMark:
    return DumpMark(1, 0, 0, "conntrack", False, complete)


def test_rates_take_two_complete_dumps() -> None:
    enough = EnoughDumps(2)
    told = [enough(item) for item in (DumpMark(1, 0, 0, "conntrack", True), end(True), end(False), end(True))]
    assert told == [False, False, False, True]


def test_a_table_that_never_stands_still_does_not_keep_us() -> None:
    enough = EnoughDumps(2)
    assert any(enough(end(False)) for _ in range(10))


def test_sort_keys_are_columns_and_the_names_of_the_contract() -> None:
    assert sort_keys("bytes,+reply_packets") == (SortKey("bytes"), SortKey("reply_packets", descending=False))
    with pytest.raises(UsageError, match="no sort key 'beauty'"):
        sort_keys("beauty")


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("ipv6", "--sort=rate", "the rates of these flows are not known: a rate needs two dumps"),
        ("demo-gw-b", "--filter=rate > 1", "the rates of 8 of 16 flows are not known: a rate needs two dumps"),
        ("demo-gw-a", "--sort=rate", ""),
        ("demo-gw-b", "--filter=process x", NO_PROCESSES),
        ("demo-gw-a", "--filter=process x", ""),
        ("demo-gw-b", "--sort=bytes", ""),
    ],
)
def test_what_a_recording_lacks_is_said(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str, asked: str, said: str
) -> None:
    monkeypatch.setattr("nettop.headless.load.drop", lambda: None)
    assert run(cli.parse(["flows", "-r", str(CAPTURES / f"{name}.pcapng"), asked])) == 0
    err = capfd.readouterr().err
    assert err.count("\n") == bool(said) and said in err
