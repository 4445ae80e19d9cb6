"""The process that parses is confined in every mode: hostile code in it is refused everything that it does not need."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nettop.broker.identity import can_change_ids
from tests.kernel import hostile
from tests.kernel.namespaces import poll
from tests.kernel.processes import ROOT, App, children_of, is_gone, status_of, threads_of
from tests.kernel.test_broker_userns import AS_NOBODY

pytestmark = pytest.mark.kernel

REFUSED = {"EPERM", "ENOSYS"}
NO_MORE = "ValueError('not allowed to raise maximum limit')"


@pytest.fixture
def prey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file in a directory, both of which any user may write."""
    folder = tmp_path_factory.mktemp("prey")
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    folder.chmod(0o777)
    victim = folder / "victim"
    victim.write_text("precious")
    victim.chmod(0o666)
    yield victim


def limit_of(pid: int, name: str) -> list[str]:
    """The soft and the hard limit of a process."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line.removeprefix(name).split()[:2] for line in lines if line.startswith(name))


MODES = {
    "root": ({}, (), {}),
    "sudo nettop": ({}, (), {"SUDO_UID": "54321", "SUDO_GID": "54321"}),
    "user namespace": ({"userns": True}, AS_NOBODY, {}),
}


@pytest.mark.parametrize("mode", MODES)
def test_hostile_code_in_the_app_is_refused(mode: str, prey: Path) -> None:
    plan, before, env = MODES[mode]
    if not can_change_ids():
        before, env = (), {}
    plan = {**plan, "do": ["attack"], "folder": str(prey.parent), "victim": str(prey)}
    with App(plan, before, env) as app:
        pid = app.expect("ready")["pid"]
        outcomes = app.expect("attack")["outcomes"]
        assert outcomes.pop("core dumps") == NO_MORE
        assert {name: how for name, how in outcomes.items() if how not in REFUSED} == {}
        for thread in threads_of(pid):
            status = status_of(pid, thread)
            assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        real_root = os.stat("/proc/sys/kernel").st_uid  # as a user namespace sees it: 65534, or 0 if that made it
        assert os.stat(f"/proc/{pid}/mem").st_uid == (0 if can_change_ids() else real_root)
        assert limit_of(pid, "Max core file size") == ["0", "0"]
    assert prey.read_text() == "precious" and os.listdir(prey.parent) == [prey.name]
    assert prey.stat().st_mode & 0o777 == 0o666


def test_the_same_code_in_a_free_process_is_not_refused(prey: Path) -> None:
    every = hostile.deeds(os.getpid(), str(prey.parent), str(prey))
    for name in ("truncate", "unix socket", "internet socket", "signal another", "times", "mkdir", "unlink"):
        assert hostile.outcome(every[name]) == "done", name


HELD = """
import os, signal
from nettop.broker.start import start
broker = start("root", confine=False)
if os.fork() == 0:
    os.close(1)
    signal.pause()
print(broker.pid, flush=True)
input()
os._exit(0)
"""


def test_the_broker_ends_with_its_app_though_another_process_holds_the_socket() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HELD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as app:
        assert app.stdin is not None and app.stdout is not None
        broker = int(app.stdout.readline())
        holder = next(pid for pid in children_of(app.pid) if pid != broker)
        try:
            assert not is_gone(broker)
            app.stdin.write("\n")
            app.stdin.flush()
            poll(lambda: is_gone(broker), what="the broker's end")
        finally:
            os.kill(holder, signal.SIGKILL)


def test_the_broker_runs_without_site_and_environment_in_the_root_directory() -> None:
    """A .pth file of a venv would run as root."""
    with App({}) as app:
        broker = app.expect("ready")["broker"]
        command = Path(f"/proc/{broker}/cmdline").read_bytes().split(b"\0")
        assert command[1:4] == [b"-I", b"-S", b"-B"]
        assert os.readlink(f"/proc/{broker}/cwd") == "/"


ON_ANOTHER_MACHINE = """
import json, os, platform, sys
from tests.kernel import hostile
from nettop.broker.confinement import landlock
from nettop.broker.confinement.app import confine_app
every = hostile.deeds(os.getppid(), *sys.argv[1:])
platform.machine = lambda: "sparc64"
confine_app(preload=("os",))
files = ("create a file", "write a file", "truncate", "unlink", "rename", "mkdir", "old open")
status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
outcomes = {name: hostile.outcome(every[name]) for name in files}
print(json.dumps([landlock.version(), status["NoNewPrivs"], status["Seccomp"], outcomes]))
"""


def test_on_an_unknown_machine_the_rest_holds_without_the_system_call_filter(prey: Path) -> None:
    command = [sys.executable, "-c", ON_ANOTHER_MACHINE, str(prey.parent), str(prey)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr.startswith(
        "nettop: this process is less confined than it should be: nettop knows no system call"
    )
    version, no_new_privileges, filters, outcomes = json.loads(done.stdout)
    assert (no_new_privileges, filters) == ("1", "0")
    if version:
        assert set(outcomes.values()) == {"EACCES"}, outcomes
        assert prey.read_text() == "precious"


def test_confining_takes_no_time_and_says_nothing() -> None:
    """At most 10 ms of the start, which has half a second."""
    code = (
        "import time; from nettop.broker.confinement import app, drop; import nettop.broker.confinement.seccomp;"
        "began = time.perf_counter(); app.confine_app(preload=('os',)); print(time.perf_counter() - began)"
    )
    command = [sys.executable, "-c", code]
    every = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(3)]
    assert min(float(done.stdout) for done in every) < 0.010
    assert [done.stderr for done in every] == ["", "", ""]
