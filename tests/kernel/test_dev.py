"""`./dev`: what it copies for root, what `shots` writes, and the user namespace of an ordinary user's tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.commands import ROOT, environment
from tests.kernel.namespaces import Lab, command_in, run_in
from tests.kernel.rights import only_root

pytestmark = pytest.mark.kernel

CACHE = Path("/var/cache/nettop-dev")
PROGRAM = ("nettop", "themes", "captures", "pyproject.toml", "README.md", "LICENSE")
PRIVATE = ("captures/mine.pcapng", "nettop/mine.pcap", "themes/.secret", "mine.pcapng", "tests/mine.pcap")


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """The project in a directory of mode 0700, with private files of its user in between."""
    project = tmp_path / "closed" / "nettop"
    project.mkdir(parents=True)
    for name in (*PROGRAM, "dev", "tests/profiles.py"):
        (project / name).parent.mkdir(exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, project / name)
    project.parent.chmod(0o700)
    return project


@pytest.fixture
def copy(closed: Path) -> Iterator[Path]:
    """The place of its copy, with a venv that needs no installation."""
    number = subprocess.run(["cksum"], input=str(closed), capture_output=True, text=True, check=True).stdout.split()[0]
    copy = CACHE / f"{number}-run"
    tools = copy / ".venv" / "bin"
    tools.mkdir(parents=True)
    (tools / "python").symlink_to(sys.executable)
    (tools / "nettop").write_text(f'#!/bin/sh\ncd /; PYTHONPATH={copy} exec {sys.executable} -m nettop "$@"\n')
    (tools / "nettop").chmod(0o755)
    (copy / ".venv" / ".stamp-run").write_text(f"{installation(closed / 'pyproject.toml')} {copy}\n")
    yield copy
    shutil.rmtree(copy)


def installation(project: Path) -> str:
    """The checksum of what an installation depends on."""
    script = (ROOT / "dev").read_text()
    function = script[script.index("what_is_installed() {") :].partition("\n}\n")[0]
    words = ["sh", "-c", function + '\n}\nwhat_is_installed "$1" | cksum', "sh", str(project)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def dev(project: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [str(project / "dev"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment(**env))


@pytest.fixture
def offline(lab: Lab) -> Iterator[tuple[Path, str]]:
    """The project with a venv that has all packages, and a namespace in which a package index never answers."""
    project, ns = Path(tempfile.mkdtemp(prefix="nt-dev-")), lab.netns("offline")
    project.chmod(0o755)
    (project / ".venv" / "bin").mkdir(parents=True)
    for name in (*PROGRAM, "dev"):
        (project / name).symlink_to(ROOT / name)
    (project / "dev").unlink()
    shutil.copy(ROOT / "dev", project / "dev")
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", project / ".venv")
    (project / ".venv" / "lib").symlink_to(Path(sys.prefix) / "lib")
    for tool in ("python", "nettop"):
        (project / ".venv" / "bin" / tool).symlink_to(Path(sys.executable).with_name(tool))
    run_in(
        ns, "nft", "-f", "-", stdin="add table t\nadd chain t o { type filter hook output priority 0; policy drop; }"
    )
    yield project, ns
    shutil.rmtree(project)


@only_root("an ordinary user may not write the project's venv")
def test_without_an_index_what_is_installed_is_used_and_what_is_not_is_one_line(offline: tuple[Path, str]) -> None:
    project, ns = offline
    env = {"PIP_INDEX_URL": "http://127.0.0.1:1/simple", "PIP_CONFIG_FILE": os.devnull, "PIP_DEFAULT_TIMEOUT": "1"}
    command = command_in(ns, str(project / "dev"), "run", "--version")
    begin = lambda: subprocess.run(command, env=environment(**env), capture_output=True, text=True, timeout=100)  # noqa: E731
    done = begin()
    assert (done.returncode, done.stdout.split()[0]) == (0, "nettop"), done.stderr
    assert "going on" in done.stderr.splitlines()[-1]
    text = (project / "pyproject.toml").read_text().replace("numpy>=2.0,<3", "numpy>=99")
    (project / "pyproject.toml").unlink()
    (project / "pyproject.toml").write_text(text)
    done = begin()
    assert done.returncode == 1 and "PIP_INDEX_URL" in done.stderr.splitlines()[-1] and not done.stdout


def test_only_what_an_installation_depends_on_makes_another_one(tmp_path: Path) -> None:
    project = tmp_path / "pyproject.toml"
    text = (ROOT / "pyproject.toml").read_text()
    project.write_text(text)
    known = installation(project)
    same = (
        (" = 120", " = 99"),
        ("# columns: decoders", "# arrays: decoders"),
        ('description = "', 'description = "A '),
    )
    other = (
        ("numpy>=2.0", "numpy>=2.1"),
        ("lz4>=4.3", "lz4>=4.4"),
        ("hatchling>=1.25", "hatchling"),
        ('"nettop.__main__', '"nettop.m'),
    )
    for before, after in (*same, *other):
        assert before in text
        project.write_text(text.replace(before, after))
        assert (installation(project) == known) is ((before, after) in same), before


def files(directory: Path) -> set[str]:
    found = (path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    return {str(path) for path in found if not {".venv", "__pycache__", ".git"} & set(path.parts)}


@only_root("the copy is in /var/cache")
@pytest.mark.parametrize("tracked", [True, False], ids=["git", "no git"])
def test_root_below_a_closed_directory_copies_the_program_and_no_file_of_its_user(
    closed: Path, copy: Path, tracked: bool
) -> None:
    wanted = {name for name in files(closed) if name.startswith(PROGRAM)}
    if tracked:
        subprocess.run(["git", "init", "-q", closed], check=True)
        subprocess.run(["git", "-C", closed, "add", "."], check=True)
    for name in PRIVATE:
        (closed / name).write_text("secret")
    done = dev(closed, "run", "flows", "-r", str(copy / "captures" / "demo-gw-a.pcapng"))
    assert (done.returncode, "192.168.1.2" in done.stdout) == (0, True), done.stderr
    assert f"in {copy}" in done.stderr
    assert files(copy) - {".copied"} == wanted
    others = [path for path in copy.rglob("*") if not path.is_symlink() and not path.stat().st_mode & 0o004]
    assert not others, "not every user may read these"


@only_root("the copy is in /var/cache")
def test_the_copy_is_made_again_when_the_program_changes_and_not_when_captures_come(closed: Path, copy: Path) -> None:
    subprocess.run(["git", "init", "-q", closed], check=True)
    subprocess.run(["git", "-C", closed, "add", "."], check=True)
    words = "working on a copy"
    assert words in dev(closed, "run", "--version").stderr
    (closed / "captures" / "mine.pcapng").write_text("secret")
    assert words not in dev(closed, "run", "--version").stderr
    (closed / "nettop" / "__init__.py").write_text('__version__ = "9.9.9"\n')
    changed = dev(closed, "run", "--version")
    assert (changed.stdout, words in changed.stderr) == ("nettop 9.9.9\n", True)
    (closed / "themes" / "light.toml").unlink()
    assert words in dev(closed, "run", "--version").stderr
    assert not (copy / "themes" / "light.toml").exists()


ONE_SCENE = """
import runpy, tests.ui.screenshots as screenshots
screenshots.SCENES, screenshots.MAP_SCENES = {"flows": ("1",)}, {}
runpy.run_module("tests.ui.shots", run_name="__main__")
"""


def times() -> dict[str, int]:
    """The times of the project's files, without the hidden ones that other tests write."""
    return {name: (ROOT / name).stat().st_mtime_ns for name in files(ROOT) if not name.startswith(".")}


def test_shots_writes_nothing_but_its_directory(tmp_path: Path) -> None:
    """As `./dev shots` runs it, from another directory."""
    before = times()
    command = [sys.executable, "-BPc", ONE_SCENE, "made"]
    subprocess.run(command, cwd=tmp_path, env=environment(PYTHONPATH=str(ROOT)), check=True, timeout=120)
    assert times() == before
    assert os.listdir(tmp_path) == ["made"]
    assert {path.suffix for path in (tmp_path / "made").iterdir()} == {".svg", ".png"}
