"""Sysctls are read without leaving anything open, whatever lies between them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nettop.broker import sysctls


def test_two_thousand_readings_leave_no_descriptor_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netfilter = tmp_path / "net" / "netfilter"
    (netfilter / "nf_log").mkdir(parents=True)  # a directory whose name looks like a sysctl
    (netfilter / "nf_conntrack_max").write_text("262144\n")
    monkeypatch.setattr(sysctls, "_ROOT", str(tmp_path))
    before = os.listdir("/proc/self/fd")
    for _ in range(2000):
        assert sysctls.listing() == b"net.netfilter.nf_conntrack_max = 262144\n"
    assert os.listdir("/proc/self/fd") == before
