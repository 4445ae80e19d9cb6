"""Rights that a test needs beyond those of root in a user namespace, as marks that skip it where they are missing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import pytest

from nettop.broker.identity import can_change_ids, is_host_root

Test = TypeVar("Test", bound=Callable[..., None])
ONLY_ROOT = "only root can test this: "


@cache
def can_name_namespaces() -> bool:
    """Return whether `ip netns add` works: in a user namespace with a /run of its own, as `./dev test` makes it."""
    name = f"nt-probe-{os.getpid()}"
    if not is_host_root() and subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return False
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return True


def only_root(why: str) -> pytest.MarkDecorator:
    """Skip the test in user namespaces."""
    return pytest.mark.skipif(not is_host_root(), reason=ONLY_ROOT + why)


def hash_of_the_host(test: Test) -> Test:
    """Mark a test that resizes the conntrack hash: it runs alone, and not in user namespaces."""
    marked: Test = pytest.mark.resizes_hash(only_root("the hash is the host's")(test))
    return marked


other_users = pytest.mark.skipif(
    not can_change_ids(), reason=f"{ONLY_ROOT}no other users here (/etc/subuid gives a user namespace some)"
)
named_namespaces = pytest.mark.skipif(
    not can_name_namespaces(), reason=f"{ONLY_ROOT}/run/netns is not ours (`./dev test` makes it so)"
)
small_buffers = only_root("receive buffers are small in a user namespace")
tracepoints = only_root("tracepoints are the host's")
tun_devices = pytest.mark.skipif(not os.access("/dev/net/tun", os.W_OK), reason=f"{ONLY_ROOT}/dev/net/tun is not ours")
