"""Creating an output file: what is there already stays unless force is given, and links are never followed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from nettop.broker.options import Options, for_app, parse
from nettop.broker.output import open_for_app, open_new
from nettop.errors import BrokerError, NotPermitted

CAPTURE = bytes.fromhex("0a0d0d0a") + b"old"


def written(path: Path, *, force: bool = False) -> bytes:
    fd = open_new(str(path), force)
    os.write(fd, b"new")
    os.close(fd)
    return path.read_bytes()


def test_a_new_file_is_created_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    assert written(path) == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["a\n.pcapng", "\x1b[2J.pcapng", "a\x7f", "a\x9b.pcapng"])
def test_a_name_with_control_characters_is_refused_and_the_error_is_clean(tmp_path: Path, name: str) -> None:
    with pytest.raises(BrokerError, match="control characters") as refused:
        open_new(f"{tmp_path}/{name}", True)
    assert str(refused.value).isprintable() and os.listdir(tmp_path) == []


def test_a_file_with_a_second_name_is_not_emptied(tmp_path: Path) -> None:
    """A hard link would let others name a file of ours as an output."""
    path = tmp_path / "a.pcapng"
    path.write_bytes(CAPTURE)
    os.link(path, tmp_path / "b")
    with pytest.raises(BrokerError, match="has other names"):
        open_new(str(path), True)
    assert path.read_bytes() == CAPTURE


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


def asked(folder: Path, path: str, **options: object) -> int:
    """Ask as an app that may create captures below a folder."""
    return open_for_app(path, Options(directories=(str(folder),), **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["job", "a.sh", ".pcapng", ".a.pcapng", ".config/a.pcapng", "a.pcapng.conf", "a\n.pcapng", "\u202ea.pcapng"]
)
@pytest.mark.parametrize("force", [False, True])
def test_an_app_creates_captures_only(tmp_path: Path, name: str, force: bool) -> None:
    (tmp_path / ".config").mkdir()
    with pytest.raises(BrokerError, match="cannot write"):
        asked(tmp_path, f"{tmp_path}/{name}", force=force)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_app_creates_captures_only_in_the_listed_directories_also_through_links(tmp_path: Path) -> None:
    allowed, other = tmp_path / "in", tmp_path / "in2"
    for path in (allowed, allowed / "below", other):
        path.mkdir()
    (allowed / "link").symlink_to(other)
    for folder in (other, allowed / "link", f"{allowed}/../in2", tmp_path):
        with pytest.raises(BrokerError, match="captures go to"):
            asked(allowed, f"{folder}/a.pcapng")
    os.close(asked(allowed, f"{allowed}/a.pcapng"))
    os.close(asked(allowed, f"{allowed}/below/a.pcap"))
    assert os.listdir(other) == []


def test_an_app_replaces_nothing_but_what_the_command_line_named(tmp_path: Path) -> None:
    kept, named = tmp_path / "a.pcapng", tmp_path / "b"
    for path in (kept, named):
        path.write_bytes(CAPTURE)
    with pytest.raises(BrokerError, match="exists"):
        asked(tmp_path, str(kept), write=str(named), force=True)
    with pytest.raises(BrokerError, match="exists"):
        asked(tmp_path, str(named), write=str(named))
    os.close(asked(tmp_path, str(named), write=str(named), force=True))
    assert (kept.read_bytes(), named.read_bytes()) == (CAPTURE, b"")


def test_under_read_only_nothing_is_created_but_what_the_command_line_named(tmp_path: Path) -> None:
    with pytest.raises(NotPermitted, match="--read-only"):
        asked(tmp_path, f"{tmp_path}/a.pcapng", read_only=True, write=f"{tmp_path}/b.x")
    os.close(asked(tmp_path, f"{tmp_path}/b.x", read_only=True, write=f"{tmp_path}/b.x"))
    os.close(asked(tmp_path, f"{tmp_path}/b-00001.x", read_only=True, write=f"{tmp_path}/b.x"))
    for name in ("b-1.x", "b-000a1.x", "b-00001.xy", "c-00001.x"):
        with pytest.raises(NotPermitted):
            asked(tmp_path, f"{tmp_path}/{name}", read_only=True, write=f"{tmp_path}/b.x")


@pytest.mark.parametrize("path", ["", "/", "missing/a.pcapng", "a\0b.pcapng", "\ud800.pcapng"])
def test_for_an_app_a_path_that_cannot_be_is_an_error(path: str) -> None:
    with pytest.raises(BrokerError):
        open_for_app(path, Options(directories=(os.getcwd(),)))


def test_the_options_survive_the_brokers_command_line() -> None:
    options = Options(True, "/tmp/a=b.pcapng", True, ("/tmp", "/home/a b"))
    assert parse(options.arguments()) == options and parse([]) == Options()


def test_the_directories_of_an_app_are_where_it_starts_its_users_home_and_the_temporary_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    directories = for_app(write="a.pcapng").directories
    assert directories[0] == str(tmp_path) and {"/tmp", "/var/tmp"} <= set(directories)
    assert for_app(write="a.pcapng").write == f"{tmp_path}/a.pcapng"
    for system in ("/", "/etc", "/usr/lib"):
        monkeypatch.chdir(system)
        assert system not in for_app().directories
