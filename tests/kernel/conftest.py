"""Fixtures of the kernel tests."""

from __future__ import annotations

import pytest

from tests.kernel.namespaces import Lab, run_in


@pytest.fixture
def ends(lab: Lab) -> tuple[str, str]:
    """Two namespaces, joined by veth0 without addresses: no packet but those that a test sends."""
    a, b = lab.netns("a"), lab.netns("b")
    for ns in (a, b):
        run_in(ns, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
    lab.veth_pair(a, b, addresses_a=(), addresses_b=())
    return a, b
