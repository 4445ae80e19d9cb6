"""Lines on stderr name devices and files of others: they are safe for a terminal."""

from __future__ import annotations

import pytest

from nettop.batch import End, Text
from nettop.errors import EXIT_FAILED, EXIT_OK
from nettop.headless.damage import damage
from nettop.headless.load import report_errors
from nettop.headless.record import RecordingMonitor
from nettop.kinds import TextKind

_GONE = "device \x1b]0;owned\x07 is gone"
_SAFE = "nettop: device \\x1b]0;owned\\x07 is gone\n"


def test_a_stream_that_ended(capfd: pytest.CaptureFixture[str]) -> None:
    report_errors([End(1, 0, error=_GONE)])
    assert capfd.readouterr().err == _SAFE


def test_a_device_that_went_while_it_was_recorded(capfd: pytest.CaptureFixture[str]) -> None:
    RecordingMonitor(0).apply([End(1, 0, error=_GONE)])
    assert capfd.readouterr().err == _SAFE


def test_a_damaged_file(capfd: pytest.CaptureFixture[str]) -> None:
    damage("x.pcapng", End(None, 0, error="block \u202e", offset=9))
    said = capfd.readouterr().err
    assert said == "nettop: 'x.pcapng' is damaged at byte 9: block \\u202e; the data before it was read\n"


def test_a_text_that_could_not_be_read_is_said_once_and_the_recording_ends_with_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    monitor = RecordingMonitor(0)
    for _ in range(2):
        monitor.apply([Text(1, 0, 0, TextKind.NFT_RULESET, b"", "Too many open files")])
    monitor.apply([Text(1, 0, 0, TextKind.SYSCTLS, b"a=1\n")])
    assert capsys.readouterr().err == "nettop: nft-ruleset is missing in the recording: Too many open files\n"
    assert monitor.code(fail_on_loss=False) == EXIT_FAILED
    assert RecordingMonitor(0).code(fail_on_loss=False) == EXIT_OK
