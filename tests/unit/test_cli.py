"""The command line answers in one line with the exit code of the contract, and starts lean."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from nettop import cli
from nettop.errors import UsageError
from nettop.headless import doctor
from nettop.text.sanitize import clean

CAPTURE = str(Path(__file__).parents[2] / "captures" / "ipv6.pcapng")


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


@pytest.mark.parametrize("name", ["flows", "events", "counters", "rules", "demo"])
@pytest.mark.parametrize("second", ["b", "gw-a"])
def test_a_command_that_looks_at_one_namespace_refuses_two(name: str, second: str) -> None:
    with pytest.raises(UsageError) as refused:
        cli.parse([name, "--netns", "gw-a", "--netns", second])
    assert str(refused.value).startswith("--netns is given twice: ") and f"nettop {name}" in str(refused.value)
    assert cli.parse([name, "--netns", "b"]).netns == "b"


def test_the_app_takes_several_namespaces() -> None:
    assert cli.parse(["--netns", "a", "--netns", "b"]).netns == ["a", "b"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--netns X flows", "nettop flows --netns X"),
        ("--netns flows flows --json --sort bytes", "nettop flows --netns flows --json --sort bytes"),
        ("-r 'a b.pcapng' events", "nettop events -r 'a b.pcapng'"),
        ("--json counters", "nettop counters --json"),
        ("--read-only --netns=X doctor", "nettop doctor --read-only --netns=X"),
    ],
)
def test_options_before_the_command_are_put_behind_it(typed: str, said: str) -> None:
    done = nettop(*shlex.split(typed))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"nettop: options follow the command: `{said}`\n"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--netns A --netns B flows", "nettop flows --netns A"),
        ("--netns=A --read-only --netns=B flows --json", "nettop flows --netns=A --read-only --json"),
        ("--netns A flows --json --netns B", "nettop flows --netns A --json"),
    ],
)
def test_what_is_advised_looks_at_one_namespace(typed: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        cli.parse(shlex.split(typed))
    assert refused.value.message == "options follow the command, which looks at one namespace"
    assert refused.value.remedy == f"`{said}`"
    assert cli.parse(shlex.split(said)[1:]).netns == "A"


def test_a_namespace_may_be_called_like_a_command() -> None:
    assert cli.parse(["--netns", "flows"]).netns == ["flows"]


@pytest.mark.parametrize(
    "argv", [["doctor"], ["doctor", "--json"], ["--help"], ["flows", "--help"], ["--version"], ["read", CAPTURE]]
)
def test_a_full_disk_under_stdout_is_one_line(argv: list[str]) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "nettop", *argv]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, "nettop: standard output: No space left on device\n")


@pytest.mark.parametrize("argv", [["--version"], ["--help"], ["read", CAPTURE]])
@pytest.mark.parametrize("closed", [1, 2])
def test_a_stream_that_is_closed_ends_nothing_with_a_traceback(argv: list[str], closed: int) -> None:
    command = ["sh", "-c", f'exec "$@" {closed}>&-', "sh", sys.executable, "-m", "nettop", *argv]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "") and bool(done.stdout) is (closed == 2)


def test_a_message_that_cannot_be_written_ends_no_command() -> None:
    """The notice of a recording without traced packets."""
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "nettop", "trace", "-r", CAPTURE]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, text=True, timeout=60, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["doctor"]])
def test_a_reader_that_goes_is_an_end(argv: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        command = [sys.executable, "-m", "nettop", *argv]
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_a_command_loads_no_other(name: str) -> None:
    code = f"import sys; from nettop import cli; cli.main([{name!r}, '--help']); sys.stdout.flush()\n"
    code += f"print([n for n in {sorted(cli.COMMANDS)!r} if 'nettop.headless.' + n in sys.modules])\n"
    code += "print([n for n in ('textual', 'rich', 'scapy') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-2:] == [str([name] if name != "demo" else []), "[]"]


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


def test_the_report_of_the_host_is_safe_for_a_terminal() -> None:
    """TERM comes from whoever logs in."""
    (line,) = doctor.lines([doctor.Check("terminal", "ok", "TERM=\x1b[31m", "use \x9b5m")], as_json=False)
    assert line == clean(line) and "31m" in line and "5m" in line
