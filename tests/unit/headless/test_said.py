"""Lines on stderr name devices and files of others: they are safe for a terminal."""

from __future__ import annotations

import pytest

from nettop.batch import End
from nettop.headless.damage import damage
from nettop.headless.load import report_errors
from nettop.headless.record import RecordingMonitor

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
    assert said == "nettop: 'x.pcapng' is damaged at byte 9: block \\u202e; what stands before it was read\n"
