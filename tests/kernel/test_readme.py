"""Every command of the README does what it says: each runs, in a private world that has a namespace gw-a."""

from __future__ import annotations

import fcntl
import os
import re
import select
import shlex
import struct
import subprocess
import sys
import termios
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel

README = Path(__file__).resolve().parents[2] / "README.md"
# A network and a /run of its own, in which `ip netns` names are free; then the command.
WORLD = """mount -t tmpfs none /run && mkdir /run/netns && ip netns add gw-a && ip -n gw-a link set lo up &&
ip link set lo up && ip netns exec gw-a nft 'add table t; add chain t c { type filter hook output priority 0; };
add rule t c ct state new counter' && exec "$@" """
SCREEN_SECONDS = 90.0


def blocks() -> list[list[str]]:
    """Return the lines that call nettop of each sh block of the README; `./dev test` is what runs this."""
    texts = re.findall(r"^```sh\n(.*?)^```", README.read_text(), re.S | re.M)
    return [
        [line.replace("./dev run", "nettop") for line in text.splitlines() if line != "./dev test"] for text in texts
    ]


def in_world(line: str) -> list[str]:
    words = shlex.split(line)
    assert words[0] == "nettop"
    world = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", WORLD, "sh"]
    return [*world, sys.executable, "-m", "nettop", *words[1:]]


def is_screen(line: str) -> bool:
    """Whether the line opens the app: no command, or the demo."""
    words = shlex.split(line)[1:]
    return not words or words[0].startswith("-") or words[0] == "demo"


def on_a_screen(argv: list[str], cwd: Path) -> tuple[int, bytes]:
    """Run on a pty until the first view stands, then press q until it is heard; the exit code and what was drawn."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    own_size = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    env = {**own_size, "TERM": "xterm-256color", "HOME": str(cwd)}
    process = subprocess.Popen(argv, cwd=cwd, env=env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    drawn, end = b"", time.monotonic() + SCREEN_SECONDS
    try:
        while process.poll() is None and time.monotonic() < end:
            if select.select([master], [], [], 0.1)[0]:
                try:
                    drawn += os.read(master, 1 << 16)
                except OSError:
                    break
            if b"Flows" in drawn and b"Counters" in drawn:
                os.write(master, b"q")
        try:
            return process.wait(max(0.1, end - time.monotonic())), drawn
        except subprocess.TimeoutExpired:
            raise AssertionError(f"never ended: {drawn[-4000:].decode(errors='replace')!r}") from None
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_the_readme_names_every_command() -> None:
    lines = [shlex.split(line) for block in blocks() for line in block]
    named = {words[1] for words in lines if len(words) > 1 and not words[1].startswith("-")}
    assert named == {"demo", "record", "read", "flows", "events", "counters", "rules", "trace", "map", "doctor"}


def run_block(lines: list[str], cwd: Path) -> None:
    for line in lines:
        if is_screen(line):
            code, drawn = on_a_screen(in_world(line), cwd)
            assert b"Traceback" not in drawn, line
            output = drawn.decode(errors="replace")[-500:]
        else:
            done = subprocess.run(in_world(line), cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
            code, output = done.returncode, done.stderr
        assert code == 0, f"{line}: {code}: {output}"


def test_every_command_of_the_readme_works(tmp_path: Path) -> None:
    """The blocks run at the same time, as in several terminals; the lines of a block in order."""
    tmp_path.chmod(0o755)
    with ThreadPoolExecutor(len(blocks())) as pool:
        for ended in [pool.submit(run_block, lines, tmp_path) for lines in blocks()]:
            ended.result()
    assert (tmp_path / "gw-a.pcapng").stat().st_size > 0
    assert (tmp_path / "https.pcapng").stat().st_size > 0


def test_the_pictures_of_the_readme_are_there() -> None:
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", README.read_text()):
        assert (README.parent / picture).exists(), picture
