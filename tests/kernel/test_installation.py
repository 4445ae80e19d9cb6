"""Files that root runs: who else may change them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nettop.broker import installation
from nettop.broker.installation import first_changeable
from tests.kernel.rights import only_root

pytestmark = [pytest.mark.kernel, only_root("in a user namespace, the owner of /tmp is unknown")]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of root's in directories of root's below the sticky /tmp."""
    path = tmp_path / "package" / "module.py"
    path.parent.mkdir()
    path.touch()
    path.chmod(0o644)
    return path


def test_files_of_root_below_directories_of_root_are_fine(file: Path) -> None:
    assert first_changeable([str(file), "/usr/lib/os-release", "/nowhere/at/all"]) == ""


@pytest.mark.parametrize("mode", [0o666, 0o602])
def test_a_file_that_all_may_write_is_found(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert first_changeable([str(file)]) == f"{file} may be changed by everybody"


def test_a_directory_above_it_is_found_and_one_of_another_user(file: Path) -> None:
    file.parent.chmod(0o777)
    assert first_changeable([str(file)]) == f"{file.parent} may be changed by everybody"
    file.parent.chmod(0o755)
    os.chown(file.parent, 54321, 0)
    assert first_changeable([str(file)]) == f"{file.parent} may be changed by uid 54321"


def test_a_link_is_found_where_it_lies_and_where_it_leads(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "python"
    link.symlink_to(file)
    assert first_changeable([str(link)]) == ""
    file.chmod(0o666)
    assert first_changeable([str(link)]) == f"{file} may be changed by everybody"
    file.chmod(0o644)
    os.chown(link, 54321, 0, follow_symlinks=False)
    assert first_changeable([str(link)]) == f"{link} may be changed by uid 54321"


def test_a_group_counts_if_it_has_members(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(file, 0, 54321)
    file.chmod(0o664)
    assert first_changeable([str(file)]) == f"{file} may be changed by group 54321"
    os.chown(file, 0, 0)
    assert first_changeable([str(file)]) == ""


def test_the_error_names_the_file_and_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "first_changeable", lambda paths: "/x may be changed by joe")
    error = installation.refusal()
    assert error is not None and error.exit_code == 4
    assert str(error).startswith(
        "/x may be changed by joe, and the broker would run it as root: install nettop as root"
    )
