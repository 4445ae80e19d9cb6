"""What a person types as a file's name is judged as it will be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from nettop.errors import UsageError
from nettop.session.exports import save_path
from nettop.ui.actions.dialogs import _check_new


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


def test_a_name_below_the_home_directory_will_do(tmp_path: Path) -> None:
    _check_new(" ~/new.pcapng")
    assert save_path(" ~/new.pcapng") == str(tmp_path / "new.pcapng")


def test_what_exists_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "old.pcapng").touch()
    with pytest.raises(UsageError, match="exists already"):
        _check_new("~/old.pcapng")


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match=r"no folder .*/missing"):
        _check_new("~/missing/new.pcapng")
