"""Bad input of every kind has a one-line answer, or simply works: no traceback, no hang, nothing raw drawn."""

from __future__ import annotations

import re
import signal
import struct
from pathlib import Path

import pytest

from tests.kernel.commands import nettop, rows, running, size_of
from tests.kernel.namespaces import Lab, poll, run_in
from tests.kernel.pty_terminal import terminal

pytestmark = pytest.mark.kernel

PCAP = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
RECORD = struct.pack("<IIII", 1, 2, 60, 60) + bytes(60)
SHB = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
IDB = struct.pack("<IIHHII", 1, 20, 1, 0, 0, 20)
ESCAPE = b"\x1b]0;pwned\x07\x1b[31m"

NO_CAPTURE = {"empty": b"", "text": b"hello\n", "random": bytes(range(7, 107))}
DAMAGED = {
    "cut in a record": PCAP + RECORD + RECORD[:30],
    "cut in a record's header": PCAP + RECORD + RECORD[:9],
    "a record of 4 GiB": PCAP + RECORD + struct.pack("<IIII", 1, 2, 0xFFFFFFFF, 60) + bytes(60),
    "a block of length 0": SHB + IDB + struct.pack("<II", 6, 0) + bytes(64),
    "a block of length 3": SHB + IDB + struct.pack("<II", 6, 3) + bytes(64),
    "a block of 4 GiB": SHB + IDB + struct.pack("<II", 6, 0xFFFFFFF0) + bytes(64),
}
READ = ("read",)
ON_RECORDINGS = (("flows", "-r"), ("events", "-r"), ("counters", "-r"), ("rules", "-r"))


def answer(code: int, *argv: str, lines: int = 1) -> str:
    """The answer on stderr, which must be so many lines, with this exit code."""
    done = nettop(*argv)
    assert done.returncode == code, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == lines, done.stderr
    assert done.stderr.startswith("nettop: ")
    return done.stderr


@pytest.mark.parametrize(
    ("words", "kind"), [*((READ, kind) for kind in NO_CAPTURE), *((words, "text") for words in ON_RECORDINGS)]
)
def test_a_file_that_is_no_capture(tmp_path: Path, words: tuple[str, ...], kind: str) -> None:
    (tmp_path / "f").write_bytes(NO_CAPTURE[kind])
    answer(1, *words, str(tmp_path / "f"))


@pytest.mark.parametrize("words", [READ, ("flows", "-r"), ()])
def test_a_directory_or_a_missing_file(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert "directory" in answer(1, *(words or ("-r",)), str(tmp_path))
    assert "no such file" in answer(1, *(words or ("-r",)), str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("words", "kind"),
    [*((READ, kind) for kind in DAMAGED), *((words, "a block of length 0") for words in ON_RECORDINGS)],
)
def test_a_damaged_file_gives_what_stands_before_the_damage(tmp_path: Path, words: tuple[str, ...], kind: str) -> None:
    (tmp_path / "f").write_bytes(DAMAGED[kind])
    assert re.search(r"damaged at byte \d+", answer(3, *words, str(tmp_path / "f")))


def test_unknown_words() -> None:
    assert "no namespace" in answer(1, "flows", "--netns", "no-such-ns")
    assert "no process" in answer(1, "flows", "--netns", "pid:4194304")
    assert "not a network namespace" in answer(1, "flows", "--netns", "/dev/null")
    assert "no sort key" in answer(2, "flows", "--sort", "beauty")
    assert "theme" in answer(2, "-r", "/dev/null", "--theme", "no-such-theme")
    answer(2, "nonsense")


@pytest.mark.parametrize("words", [["flows"], ["events"], ["read", "/dev/null"]])
def test_a_wrong_display_filter_shows_a_caret(words: list[str]) -> None:
    said = answer(2, *words, "--filter", "host and", lines=3)
    assert said.splitlines()[2].strip() == "^"


def test_a_wrong_capture_filter_opens_nothing(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    answer(2, "record", "-w", str(path), "-f", "tcp port", lines=3)
    answer(2, "-f", "tcp port", lines=3)
    assert not path.exists()


def test_a_wrong_device_leaves_no_file(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    assert "no device 'nodev'" in answer(1, "record", "-w", str(path), "-i", "nodev", "--netns", lab.netns("a"))
    assert "no device 'nodev'" in answer(1, "-i", "nodev")
    assert not path.exists()


def test_what_is_there_is_not_overwritten(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "mine.pcapng"
    path.write_text("mine")
    (tmp_path / "link.pcapng").symlink_to(path)
    ns = lab.netns("a")
    assert "exists" in answer(1, "record", "-w", str(path), "--netns", ns)
    assert "symbolic link" in answer(1, "record", "-w", str(tmp_path / "link.pcapng"), "--force", "--netns", ns)
    assert path.read_text() == "mine"


def test_a_file_that_grows_while_it_is_read(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "r.pcapng"
    ns = lab.netns("a")
    lab.spawn_in(ns, "ping", "-i", "0.002", "127.0.0.1")
    with running("record", "--netns", ns, "-w", str(path)) as recording:
        poll(lambda: len(nettop("read", str(path), "--json").stdout.splitlines()) > 10, what="its first packets")
        for _ in range(3):
            done = nettop("read", str(path), "--json")
            assert done.returncode in (0, 3), done.stderr
            assert len(done.stdout.splitlines()) > 10
        recording.signal()
        assert recording.end()[0] == 0
    assert nettop("read", str(path)).returncode == 0


def test_escape_sequences_never_reach_the_terminal(lab: Lab, tmp_path: Path) -> None:
    ns, other = lab.netns("a"), lab.netns("b")
    device = "e\x1b[31m"
    lab.veth_pair(ns, other, name_a=device)
    rule = b'table ip t { chain o { type filter hook output priority 0; counter accept comment "\x1b]0;pwned\x07"; }; }'
    run_in(ns, "nft", "-f", "-", stdin=rule.decode())
    path = tmp_path / "r.pcapng"
    with running("record", "--netns", ns, "-w", str(path), "--count", "2") as recording:
        poll(lambda: size_of(path) > 1000)
        run_in(ns, "ping", "-c1", "-p", ESCAPE.hex(), "10.99.0.2")
        code, _, err = recording.end()
    assert code == 0, err
    for words in (
        ["read", str(path)],
        ["rules", "-r", str(path)],
        ["rules", "--netns", ns],
        ["flows", "-r", str(path)],
    ):
        done = nettop(*words)
        assert done.returncode == 0, done.stderr
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.stdout + done.stderr)
    assert any("pwned" in (row.get("comment") or "") for row in rows("rules", "--netns", ns))


# -- a small terminal, signals --


def test_a_terminal_without_unicode_has_one_sign_a_column(lab: Lab) -> None:
    env = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    with terminal("--netns", lab.netns("a"), env=env) as screen:
        poll(lambda: screen.shows("Flows"))
        screen.key("3")
        poll(lambda: screen.shows("[3 Chains]"))
        assert screen.quit() == 0
    assert screen.drawn.isascii() and b"\\u" not in screen.drawn


def test_the_app_opens_in_a_user_namespace_of_one_user() -> None:
    with terminal(before=("unshare", "-Urn")) as screen:
        poll(lambda: screen.shows("1 Flows"))
        assert screen.quit() == 0


@pytest.mark.parametrize("size", [(10, 40), (24, 80)])
def test_the_app_lives_in_a_small_terminal(lab: Lab, size: tuple[int, int]) -> None:
    with terminal("--netns", lab.netns("a"), size=size) as screen:
        poll(lambda: screen.shows("Flows"))
        screen.key("12345?")
        poll(lambda: screen.shows("Keys") or screen.shows("Help"))
        screen.key("q")  # leaves the help
        poll(lambda: screen.shows("Flows"))
        assert screen.quit() == 0
    assert b"Traceback" not in screen.drawn
    assert b"\x1b[?1049l" in screen.drawn


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_gives_the_terminal_back(lab: Lab, number: int) -> None:
    with terminal("--netns", lab.netns("a")) as screen:
        poll(lambda: screen.shows("Flows"))
        screen.process.send_signal(number)
        code = screen.end()
    assert code == (0 if number == signal.SIGINT else 130)
    assert b"\x1b[?1049l" in screen.drawn
    assert b"Traceback" not in screen.drawn
