"""Selection of the kernel tests: inside `unshare -Urn` a file goes that needs other users."""

from __future__ import annotations

import pytest

from nettop.broker.identity import can_change_ids


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Inside `unshare -Urn` there are no other users to become: nothing of that file could happen there."""
    if can_change_ids():
        return
    kept = [item for item in items if item.path.name != "test_broker_root_only.py"]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept
