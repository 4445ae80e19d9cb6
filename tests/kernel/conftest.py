"""Fixtures of the kernel tests: real namespaces, devices and a running broker. As root, or inside `unshare -Urn`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from nettop.broker.client import Broker
from nettop.broker.identity import can_change_ids
from nettop.broker.start import start
from tests.kernel import namespaces
from tests.kernel.namespaces import Lab


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Inside `unshare -Urn` there are no other users to become: nothing of that file could happen there."""
    if can_change_ids():
        return
    kept = [item for item in items if item.path.name != "test_broker_root_only.py"]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


@pytest.fixture(autouse=True)
def _rights() -> None:
    if namespaces.have_rights():
        return
    if os.environ.get("CI"):
        pytest.fail("kernel tests need root or `unshare -Urn`")
    pytest.skip("needs root or `unshare -Urn`")


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Everything the test makes (namespaces, veth pairs, processes), removed afterwards."""
    made = Lab()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def netns(lab: Lab) -> Callable[..., str]:
    """`netns("a")` makes a namespace and returns its spec, as `--netns` and the broker take it."""
    return lab.netns


@pytest.fixture
def veth_pair(lab: Lab) -> Callable[..., tuple[str, str]]:
    """`veth_pair(a, b)` joins two namespaces: 10.99.0.1/24 and 10.99.0.2/24 on veth0 unless said otherwise."""
    return lab.veth_pair


@pytest.fixture
def run_in() -> Callable[..., str]:
    """`run_in(ns, *argv, stdin=…)` gives the command's stdout."""
    return namespaces.run_in


@pytest.fixture
def poll() -> Callable[..., object]:
    """`poll(condition, deadline_s)` waits for a condition; no test waits in any other way."""
    return namespaces.poll


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A running broker; this process keeps its privileges."""
    with start("root", drop=False) as running:
        yield running
