"""The sysctls that restrict user namespaces, and the error that names them."""

from __future__ import annotations

from pathlib import Path

import pytest

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


def test_a_refusal_names_the_restriction_or_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    for restriction in ("kernel.apparmor_restrict_unprivileged_userns=1", ""):
        monkeypatch.setattr(isolation, "userns_restriction", lambda found=restriction: found)
        expected = f"this host denies user namespaces to ordinary users ({restriction or 'Operation not permitted'})"
        assert str(isolation.refusal("Operation not permitted")) == expected
