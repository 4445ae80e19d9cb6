"""Creating an output file: what is there already stays unless force is given, and links are never followed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nettop.broker.output import open_new
from nettop.errors import BrokerError


def written(path: Path, *, force: bool = False) -> bytes:
    fd = open_new(str(path), force)
    os.write(fd, b"new")
    os.close(fd)
    return path.read_bytes()


def test_a_new_file_is_created_and_others_may_not_write_it(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    assert written(path) == b"new"
    assert path.stat().st_mode & 0o022 == 0


def test_an_existing_file_is_refused_and_keeps_its_content(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    path.write_bytes(b"old")
    with pytest.raises(BrokerError, match=r"exists: .*--force"):
        open_new(str(path), False)
    assert path.read_bytes() == b"old"


def test_with_force_a_file_of_ours_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    path.write_bytes(b"old content")
    assert written(path, force=True) == b"new"


@pytest.mark.parametrize("force", [False, True])
def test_a_symbolic_link_is_refused_and_its_target_stays(tmp_path: Path, force: bool) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    with pytest.raises(BrokerError, match="symbolic link"):
        open_new(str(link), force)
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize("force", [False, True])
def test_a_dangling_link_creates_nothing(tmp_path: Path, force: bool) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "target")
    with pytest.raises(BrokerError):
        open_new(str(link), force)
    assert os.listdir(tmp_path) == ["link"]


def test_a_fifo_is_refused_at_once_also_with_force(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(BrokerError, match="neither yours nor a capture"):
        open_new(str(tmp_path / "fifo"), True)


@pytest.mark.parametrize("name", ["", "missing/a.pcapng", "a\0b"])
def test_a_path_that_cannot_be_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(BrokerError):
        open_new(f"{tmp_path}/{name}", False)
