"""`nettop read` as a person and a script meet it: exit codes, one-line errors, closed stdout, exports, privileges."""

from __future__ import annotations

import gzip
import json
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kernel.rights import other_users

pytestmark = pytest.mark.interop

NETTOP = [sys.executable, "-m", "nettop", "read"]
TIMEOUT = 60


def frame(port: int, size: int = 0) -> bytes:
    udp = struct.pack(">HHHH", 1024 + port % 5000, 123 if port % 7 == 0 else 53, 8 + size, 0) + bytes(size)
    ip = struct.pack(">BBHHHBBHII", 0x45, 0, 20 + len(udp), port & 65535, 0, 64, 17, 0, 0x0A000001, 0x0A000002)
    return b"\2\0\0\0\0\1\2\0\0\0\0\2\x08\0" + ip + udp


def pcap(count: int, size: int = 0) -> bytes:
    parts = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)]
    for number in range(count):
        data = frame(number, size)
        parts.append(struct.pack("<IIII", 1_700_000_000 + number, number, len(data), len(data)) + data)
    return b"".join(parts)


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("read") / "a.pcap"
    path.write_bytes(pcap(700))
    return path


def nettop(*arguments: str | Path, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    command = [*NETTOP, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, input=stdin, timeout=TIMEOUT, check=False)


def test_a_line_a_packet_and_nothing_on_stderr(capture: Path) -> None:
    done = nettop(capture)
    assert (done.returncode, done.stderr, done.stdout.count(b"\n")) == (0, b"", 700)


def test_a_filter_selects_and_json_numbers_are_the_files(capture: Path) -> None:
    done = nettop(capture, "--filter", "udp and port 123", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["number"] for row in rows] == list(range(1, 701, 7))
    assert {row["file"] for row in rows} == {str(capture)}


def test_several_files_are_merged_by_time_and_named(capture: Path) -> None:
    done = nettop(capture, capture, "--json")
    numbers = [json.loads(line)["number"] for line in done.stdout.splitlines()]
    assert numbers == [number for number in range(1, 701) for _ in range(2)]
    first = nettop(capture, capture).stdout.decode().splitlines()[0]
    assert first.startswith(f"{capture}:    1  ")


def test_standard_input_and_compressed_files_are_read(capture: Path, tmp_path: Path) -> None:
    packed = tmp_path / "a.pcap.gz"
    packed.write_bytes(gzip.compress(capture.read_bytes()))
    plain = nettop(capture).stdout
    assert nettop("-", stdin=capture.read_bytes()).stdout == plain
    assert nettop(packed).stdout == plain


def test_a_wrong_filter_is_told_with_a_caret_before_any_file_is_opened(tmp_path: Path) -> None:
    done = nettop(tmp_path / "none.pcap", "--filter", "host and")
    assert done.returncode == 2
    lines = done.stderr.decode().splitlines()
    assert "filter" in lines[0] and lines[-1].strip() == "^"
    assert "none.pcap" not in done.stderr.decode()


@pytest.mark.parametrize(
    ("name", "content"), [("rnd", bytes(range(7, 107))), ("empty", b""), ("text", b"hello\n"), ("none", None)]
)
def test_what_is_no_capture_is_one_line_and_1(tmp_path: Path, name: str, content: bytes | None) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    done = nettop(path)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
    assert done.stderr.startswith(b"nettop: ") and name.encode() in done.stderr


def test_a_directory_is_refused(tmp_path: Path) -> None:
    done = nettop(tmp_path)
    assert done.returncode == 1 and b"directory" in done.stderr


def test_one_bad_file_among_good_ones_does_not_stop_the_others(capture: Path, tmp_path: Path) -> None:
    done = nettop(tmp_path / "none", capture)
    assert (done.returncode, done.stdout.count(b"\n"), done.stderr.count(b"\n")) == (1, 700, 1)


@pytest.mark.parametrize("cut", [5, 16, 17, 40])
def test_what_stands_before_the_damage_is_printed_then_3(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cut.pcap"
    whole = pcap(50)
    path.write_bytes(whole + pcap(1)[24 : 24 + cut])
    done = nettop(path)
    assert (done.returncode, done.stdout.count(b"\n"), done.stderr.count(b"\n")) == (3, 50, 1)
    assert str(len(whole)).encode() in done.stderr


def test_a_length_that_lies_ends_the_file_there(tmp_path: Path) -> None:
    path = tmp_path / "lie.pcap"
    path.write_bytes(pcap(3) + struct.pack("<IIII", 1, 2, 0xFFFFFFFF, 60) + bytes(60))
    done = nettop(path)
    assert (done.returncode, done.stdout.count(b"\n"), done.stderr.count(b"\n")) == (3, 3, 1)


def test_a_closed_stdout_is_an_end_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "big.pcap"
    path.write_bytes(pcap(60_000))
    with subprocess.Popen([*NETTOP, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None and running.stderr is not None
        assert running.stdout.readline()
        running.stdout.close()
        assert running.wait(TIMEOUT) == 0
        assert running.stderr.read() == b""


def test_ctrl_c_before_the_end_is_130() -> None:
    """A pipe that never ends: the packets so far are printed, then the interrupt comes."""
    with piped() as running:
        first_line(running)
        running.send_signal(signal.SIGINT)
        assert running.wait(TIMEOUT) == 130
        assert running.stderr is not None and running.stderr.read() == b""


def test_packets_of_a_pipe_are_printed_as_they_come() -> None:
    with piped() as running:
        assert b"UDP" in first_line(running)
        assert running.stdin is not None
        running.stdin.close()
        assert running.wait(TIMEOUT) == 0


@contextmanager
def piped() -> Iterator[subprocess.Popen[bytes]]:
    """`nettop read -`, whose input stays open; ended in any case."""
    command = [*NETTOP, "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        try:
            yield running
        finally:
            running.kill()


def first_line(running: subprocess.Popen[bytes]) -> bytes:
    """Feeds packets, one every 50 ms, until the first line comes back."""
    assert running.stdin is not None and running.stdout is not None
    running.stdin.write(pcap(1))
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        running.stdin.write(pcap(1)[24:])
        running.stdin.flush()
        if select.select([running.stdout], [], [], 0.05)[0]:
            return running.stdout.readline()
    raise AssertionError("nothing was printed")


def capinfos_count(path: Path) -> int:
    done = subprocess.run(["tshark", "-n", "-r", str(path)], capture_output=True, check=True, timeout=TIMEOUT)
    return done.stdout.count(b"\n")


def test_an_export_holds_what_matches(capture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.pcapng"
    done = nettop(capture, "--filter", "port 123", "-w", out)
    assert done.returncode == 0 and done.stdout == b""
    assert b"100 packets" in done.stderr
    assert capinfos_count(out) == 100
    assert nettop(out).stdout == nettop(capture, "--filter", "port 123").stdout


def test_an_existing_file_is_overwritten_only_by_force(capture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.pcapng"
    out.write_bytes(b"mine")
    done = nettop(capture, "-w", out)
    assert (done.returncode, out.read_bytes()) == (1, b"mine")
    assert b"--force" in done.stderr
    assert nettop(capture, "-w", out, "--force").returncode == 0
    assert capinfos_count(out) == 700


def test_a_file_is_not_exported_onto_itself(capture: Path, tmp_path: Path) -> None:
    path = tmp_path / "self.pcap"
    path.write_bytes(capture.read_bytes())
    done = nettop(path, "-w", path, "--force")
    assert done.returncode == 2 and path.read_bytes() == capture.read_bytes()


def test_an_export_of_an_unreadable_file_leaves_nothing_behind(tmp_path: Path) -> None:
    done = nettop(tmp_path / "none", "-w", tmp_path / "out.pcapng")
    assert done.returncode == 1 and not (tmp_path / "out.pcapng").exists()


def test_an_export_can_be_a_stream(capture: Path, tmp_path: Path) -> None:
    done = nettop(capture, "--filter", "port 123", "-w", "-")
    out = tmp_path / "streamed.pcapng"
    out.write_bytes(done.stdout)
    assert capinfos_count(out) == 100


@other_users
def test_root_parses_nothing() -> None:
    """While packets are read, the process is another user without capabilities."""
    with piped() as running:
        first_line(running)
        lines = Path(f"/proc/{running.pid}/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert status["Uid"].split()[0] != "0"
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
