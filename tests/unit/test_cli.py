"""The command line answers in one line with the exit code of the contract, and starts lean."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nettop import cli
from nettop.text.sanitize import clean


def nettop(*argv: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nettop", *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **kwargs)  # type: ignore[call-overload,no-any-return]


def test_version_loads_no_library() -> None:
    code = "import sys; sys.argv = ['nettop', '--version']; from nettop.__main__ import main; main(); "
    code += "print([m for m in ('numpy', 'textual', 'argparse', 'scapy', 'pyroute2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[1] == "[]"


@pytest.mark.parametrize(
    "argv",
    [
        ["nonsense"],
        ["--nonsense"],
        ["flows", "-n", "x"],
        ["flows", "-n", "0"],
        ["record"],
        ["--keep-events", "0"],
        ["--keep-events", "99999999999"],
    ],
)
def test_wrong_usage_is_one_line_and_2(argv: list[str]) -> None:
    done = nettop(*argv)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("nettop: ")


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_has_help(name: str) -> None:
    done = nettop(name, "--help")
    assert done.returncode == 0
    assert f"nettop {name}" in done.stdout


def test_an_unexpected_exception_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NETTOP_DEBUG", raising=False)
    monkeypatch.setattr(cli, "parse", lambda argv: 1 / 0)
    assert cli.main([]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_doctor_runs_anywhere() -> None:
    done = nettop("doctor", "--json")
    assert done.returncode == 0
    assert '"name": "libpcap"' in done.stdout


def test_how_many_events_are_kept_can_be_said_for_the_app_and_the_demo() -> None:
    assert cli.parse(["--keep-events", "5000"]).keep_events == cli.parse(["demo", "--keep-events", "5000"]).keep_events
    assert cli.parse([]).keep_events == 0


def test_what_is_wrong_is_said_without_the_control_characters_that_were_typed() -> None:
    done = nettop("flows", "-n", "\x1b[2J\x9b\u202e")
    said = done.stderr.rstrip("\n")
    assert done.returncode == 2 and clean(said) == said and "\\x1b" in said
