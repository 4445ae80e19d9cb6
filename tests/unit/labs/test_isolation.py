"""The sysctls that restrict user namespaces, and the error that names them."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from nettop.errors import NettopError
from nettop.labs import isolation


def sysctls(root: Path, **values: str) -> Path:
    for name, value in values.items():
        path = root.joinpath(*name.split("__"))
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{value}\n")
    return root


@pytest.mark.parametrize(
    ("values", "restriction"),
    [
        ({}, ""),
        ({"user__max_user_namespaces": "15367"}, ""),
        ({"user__max_user_namespaces": "0"}, "user.max_user_namespaces=0"),
        ({"kernel__unprivileged_userns_clone": "1"}, ""),
        ({"kernel__unprivileged_userns_clone": "0"}, "kernel.unprivileged_userns_clone=0"),
        ({"kernel__apparmor_restrict_unprivileged_userns": "0", "user__max_user_namespaces": "100"}, ""),
        (
            {"kernel__apparmor_restrict_unprivileged_userns": "1", "user__max_user_namespaces": "100"},
            "kernel.apparmor_restrict_unprivileged_userns=1",
        ),
    ],
)
def test_a_restriction_is_named_with_its_value(values: dict[str, str], restriction: str, tmp_path: Path) -> None:
    assert isolation.userns_restriction(sysctls(tmp_path, **values)) == restriction


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "no more"),
        PermissionError(errno.EPERM, "Operation not permitted", "/proc/self/uid_map"),
        NettopError("the lab cannot be built: ip netns add lan-a", "mount: Permission denied"),
    ],
)
def test_every_refusal_names_the_restriction(error: OSError | NettopError, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "userns_restriction", lambda: "kernel.apparmor_restrict_unprivileged_userns=1")
    found = str(isolation.refusal(error))
    assert found.endswith("to ordinary users (kernel.apparmor_restrict_unprivileged_userns=1)")
