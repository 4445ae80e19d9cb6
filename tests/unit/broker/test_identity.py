"""The user behind sudo, doas or pkexec: the variable of the tool that is there, and no other."""

from __future__ import annotations

import pytest

from nettop.broker import identity


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SUDO_UID", "SUDO_GID", "PKEXEC_UID", "DOAS_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(identity, "can_change_ids", lambda: True)
    monkeypatch.setattr(identity.os, "geteuid", lambda: 0)
    monkeypatch.setattr(identity, "_nearest_tool", lambda names: None)


@pytest.mark.parametrize(
    ("tool", "env", "uid"),
    [
        (None, {}, 0),
        (None, {"SUDO_UID": "1234"}, 1234),
        (None, {"DOAS_USER": "daemon"}, 1),
        (None, {"SUDO_UID": "1234", "PKEXEC_UID": "5"}, 0),
        ("doas", {"SUDO_UID": "1234", "DOAS_USER": "daemon"}, 1),
        ("sudo", {"SUDO_UID": "1234", "DOAS_USER": "daemon", "PKEXEC_UID": "5"}, 1234),
        ("pkexec", {"SUDO_UID": "1234"}, 0),
        (None, {"SUDO_UID": "-1"}, 0),
        (None, {"DOAS_USER": "no-such-user"}, 0),
    ],
)
def test_only_the_variable_of_the_tool_that_started_us_counts(
    monkeypatch: pytest.MonkeyPatch, tool: str | None, env: dict[str, str], uid: int
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(identity, "_nearest_tool", lambda names: tool)
    assert identity.invoker().uid == uid


def test_no_ancestor_of_the_tests_is_taken_for_a_tool_by_its_name_alone() -> None:
    monkeypatched = identity._nearest_tool
    assert monkeypatched({"python3", "bash", "sh"}) is None
