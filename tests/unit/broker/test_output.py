"""Creating an output file: what is there already stays unless force is given, and links are never followed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nettop.broker.output import open_capture, open_new
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


CAPTURE = bytes.fromhex("0a0d0d0a") + b"old"


@pytest.mark.parametrize("name", ["job", "a.sh", ".pcapng", ".a.pcapng", ".config/a.pcapng", "a.pcapng.conf"])
@pytest.mark.parametrize("force", [False, True])
def test_for_an_app_root_makes_captures_only(tmp_path: Path, name: str, force: bool) -> None:
    (tmp_path / ".config").mkdir()
    with pytest.raises(BrokerError, match=r"\.pcapng"):
        open_capture(f"{tmp_path}/{name}", force)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_for_an_app_root_makes_nothing_where_the_system_looks_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/run/lock")
    for folder in ("/run/lock", f"{tmp_path}/link", f"{tmp_path}/../../../../../../run/lock"):
        with pytest.raises(BrokerError, match="cannot write"):
            open_capture(f"{folder}/nt-test.pcapng", False)
        assert not os.path.exists("/run/lock/nt-test.pcapng")


def test_for_an_app_root_makes_captures_in_shared_memory_too() -> None:
    path = f"/dev/shm/nt-{os.getpid()}.pcapng"
    os.close(open_capture(path, False))
    os.unlink(path)


def test_for_an_app_root_replaces_captures_only_though_all_is_its_own(tmp_path: Path) -> None:
    kept, replaced = tmp_path / "a.pcapng", tmp_path / "b.pcapng"
    kept.write_bytes(b"precious")
    replaced.write_bytes(CAPTURE)
    with pytest.raises(BrokerError, match="neither yours nor a capture"):
        open_capture(str(kept), True)
    with pytest.raises(BrokerError, match="exists"):
        open_capture(str(replaced), False)
    assert (kept.read_bytes(), replaced.read_bytes()) == (b"precious", CAPTURE)
    os.close(open_capture(str(replaced), True))
    os.close(open_capture(str(tmp_path / "c.pcap"), False))
    assert (replaced.read_bytes(), (tmp_path / "c.pcap").read_bytes()) == (b"", b"")


@pytest.mark.parametrize("path", ["", "/", "missing/a.pcapng", "a\0b.pcapng", "\ud800.pcapng"])
def test_for_an_app_a_path_that_cannot_be_is_an_error(path: str) -> None:
    with pytest.raises(BrokerError):
        open_capture(path, False)
