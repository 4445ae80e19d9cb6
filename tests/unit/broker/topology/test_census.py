"""The walk over /proc: what any user can make endless has a time limit, and hides no process."""

from __future__ import annotations

import os

import pytest

from nettop.broker.topology import census
from nettop.broker.topology.census import Census

OWN = os.stat("/proc/self/ns/net").st_ino


def test_processes_are_all_found_when_there_is_no_time_for_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "SECONDS", 0.0)
    held = os.open("/proc/self/ns/net", os.O_RDONLY)
    walk = Census(OWN)
    (own,) = (one for one in walk.take() if one.own)
    os.close(held)
    assert own.processes and own.pid and not own.descriptor
    assert not walk.is_complete


def test_a_walk_that_had_the_time_is_complete() -> None:
    held = os.open("/proc/self/ns/net", os.O_RDONLY)
    walk = Census(OWN)
    (own,) = (one for one in walk.take() if one.own)
    os.close(held)
    assert walk.is_complete and own.descriptor
