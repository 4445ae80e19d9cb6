"""The command line answers in one line with the exit code of the contract, and starts lean."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nettop import cli


def nettop(*argv: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nettop", *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **kwargs)  # type: ignore[call-overload,no-any-return]


def test_version_loads_no_library() -> None:
    code = "import sys; sys.argv = ['nettop', '--version']; from nettop.__main__ import main; main(); "
    code += "print([m for m in ('numpy', 'textual', 'argparse', 'scapy', 'pyroute2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[1] == "[]"


@pytest.mark.parametrize("argv", [["nonsense"], ["--nonsense"], ["flows", "-n", "x"], ["flows", "-n", "0"], ["record"]])
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
