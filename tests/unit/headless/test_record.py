"""What `nettop record` captures."""

from __future__ import annotations

import argparse
from types import SimpleNamespace
from typing import Any

import pytest

from nettop.broker.requests import Netns
from nettop.headless.record import _request

SESSION = ("10.0.0.9", 50000, "10.0.0.1", 22)
HOST = 77


class Home:
    """The broker of a host whose namespace is HOST."""

    def is_start_netns(self, netns: Netns) -> bool:
        return netns.inode == HOST


def filter_in(netns: Netns) -> str:
    """The capture filter that a recording there runs with."""
    live: Any = SimpleNamespace(netns=netns, broker=Home())
    return _request(argparse.Namespace(interface=["eth0"], capture_filter="", snaplen=96), live, SESSION).expression


@pytest.mark.parametrize("label", ["", "pid:1", "/proc/1/ns/net"])
def test_the_own_ssh_session_is_left_out_where_it_is_whatever_its_name(label: str) -> None:
    assert "port 50000" in filter_in(Netns(3, label, HOST))


def test_elsewhere_nothing_is_left_out() -> None:
    assert filter_in(Netns(3, "lab", HOST + 1)) == ""
