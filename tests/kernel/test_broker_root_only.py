"""What needs other users (so: real root): who a file belongs to, who the app becomes, sudo, and unreadable installs."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nettop.broker.client import Broker
from nettop.broker.privileges import DAC_READ_SEARCH, SYS_PTRACE
from nettop.labs.client import bundled
from tests.kernel.commands import NOBODY, nettop
from tests.kernel.namespaces import DEADLINE_S, TRACKING, Lab, poll, run_in
from tests.kernel.processes import ROOT, App, app_command, is_gone, status_of
from tests.kernel.pty_terminal import terminal
from tests.kernel.rights import only_root, other_users
from tests.kernel.test_broker_processes import holding, pids_a_child_sees, sockets_in
from tests.kernel.test_broker_userns import AS_NOBODY

pytestmark = [pytest.mark.kernel, other_users]

USER = 54321  # no such account
PASSWORD = "correct horse"
DEMO = bundled()


@pytest.fixture
def shared_directory() -> Iterator[Path]:
    """A directory of USER's that everybody may enter (pytest's own are for root only)."""
    path = Path(tempfile.mkdtemp(prefix="nt-files-"))
    os.chown(path, USER, USER)
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def as_sudo(**more: str) -> dict[str, str]:
    return {"SUDO_UID": str(USER), "SUDO_GID": str(USER), **more}


def outcome_of_output(path: Path, env: dict[str, str] | None = None, **more: object) -> str:
    with App({"do": ["output"], "path": str(path), **more}, env=env) as app:
        app.expect("ready")
        error = str(app.expect("output")["error"])
        assert app.end() == 0
    return error


@pytest.mark.parametrize(
    ("env", "uid"),
    [
        ({}, 65534),
        (as_sudo(), USER),
        ({"PKEXEC_UID": str(USER)}, USER),
        ({"DOAS_USER": "daemon"}, 1),
        ({"SUDO_UID": "0", "SUDO_GID": "0"}, 65534),
    ],
    ids=["root", "sudo", "pkexec", "doas", "sudo by root"],
)
def test_the_app_becomes_the_invoking_user_or_nobody(env: dict[str, str], uid: int) -> None:
    with App({"do": ["whoami"]}, env=env) as app:
        pid = app.expect("ready")["pid"]
        said = app.expect("whoami")
        assert said["uids"] == [uid] * 3
        assert 0 not in (*said["gids"], *said["groups"])
        assert status_of(pid)["Uid"].split() == [str(uid)] * 4


def test_an_output_file_belongs_to_the_invoking_user(shared_directory: Path) -> None:
    path = shared_directory / "a.pcapng"
    assert outcome_of_output(path, as_sudo()) == ""
    status = path.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (USER, USER, 0o600)
    assert path.read_bytes() == b"recorded"


def test_the_invoking_user_cannot_write_through_the_broker_where_it_may_not_itself(shared_directory: Path) -> None:
    for path in (Path("/etc/nt-test.pcapng"), Path("/root/nt-test.pcapng")):
        assert "Permission denied" in outcome_of_output(path, as_sudo())
        assert not os.path.exists(path)


def test_a_link_in_the_invoking_users_directory_is_not_followed(shared_directory: Path) -> None:
    target = shared_directory / "target"
    target.write_text("precious")
    (shared_directory / "link").symlink_to(target)
    for force in (False, True):
        assert "symbolic link" in outcome_of_output(shared_directory / "link", as_sudo(), force=force)
    assert target.read_text() == "precious"


def test_an_existing_file_is_refused_and_with_force_only_ones_own_is_replaced(shared_directory: Path) -> None:
    roots, own = shared_directory / "roots", shared_directory / "own"
    for path in (roots, own):
        path.write_text("precious")
        path.chmod(0o666)
    os.chown(own, USER, USER)
    assert "exists" in outcome_of_output(own, as_sudo())
    assert "neither yours nor a capture" in outcome_of_output(roots, as_sudo(), force=True)
    assert outcome_of_output(own, as_sudo(), force=True) == ""
    assert (roots.read_text(), own.read_text()) == ("precious", "recorded")


def test_root_itself_records_as_root_though_the_app_is_nobody(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"  # in a directory of root's, mode 700
    assert outcome_of_output(path) == ""
    assert path.stat().st_uid == 0


def test_root_makes_no_file_for_the_app_by_which_it_could_become_root(tmp_path: Path) -> None:
    """What lies in /etc/cron.d or /etc/logrotate.d is run as root, whatever its name: as good as /run for a try."""
    precious = tmp_path / "precious.pcapng"
    precious.write_text("no capture")
    for path in (Path("/run/nt-test.pcapng"), tmp_path / "job", tmp_path / ".ssh.pcapng"):
        assert "cannot write" in outcome_of_output(path, write="")
        assert not path.exists()
    assert "exists" in outcome_of_output(precious, write="", force=True)
    assert precious.read_text() == "no capture"


def test_an_install_the_user_cannot_read_is_refused_with_the_directory_named(tmp_path: Path) -> None:
    copy = tmp_path / "closed" / "nettop"
    shutil.copytree(ROOT / "nettop", copy)
    copy.parent.chmod(0o700)
    tmp_path.chmod(0o755)
    load = f"import sys; sys.path.insert(0, {str(copy.parent)!r}); from nettop.broker.confinement import drop"
    code = f"{load}; drop.drop_app()"
    done = subprocess.run([app_command({})[0], "-c", code], capture_output=True, text=True, check=False, timeout=30)
    last = done.stderr.strip().splitlines()[-1]
    assert "NotPermitted" in last and "cannot read /" in last and "chmod o+rx" in last


def test_root_without_net_admin_is_told_which_capability_is_missing() -> None:
    with App({}, ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-all")) as app:
        error = app.expect("error")
        assert app.end() == 4
    assert error["text"].startswith("CAP_NET_ADMIN is missing even for root: a container needs --cap-add NET_ADMIN")


def with_only(*names: str) -> tuple[str, ...]:
    """The prefix of a command that root runs with just these capabilities, as in a container."""
    return "setpriv", ",".join(("--bounding-set=-all", *(f"+{name}" for name in names))), "--inh-caps=-all"


@pytest.mark.parametrize("words", [["flows"], ["flows", "-r", DEMO], ["read", DEMO], ["rules"]])
@pytest.mark.parametrize(
    ("held", "missing", "added"),
    [
        ((), "CAP_SETUID and CAP_SETGID are missing: ", "SETUID,SETGID"),
        (("setuid",), "CAP_SETGID is missing: ", "SETGID"),
        (("setgid",), "CAP_SETUID is missing: ", "SETUID"),
    ],
)
def test_a_container_whose_root_cannot_become_another_user_is_told_what_to_add(
    held: tuple[str, ...], missing: str, added: str, words: list[str]
) -> None:
    done = nettop(*words, before=with_only("net_admin", "net_raw", *held))
    assert (done.returncode, len(done.stderr.splitlines())) == (4, 1)
    assert done.stderr.startswith(f"nettop: {missing}")
    assert done.stderr.endswith(f"a container needs --cap-add {added}\n")


def test_with_the_capabilities_that_the_readme_names_all_but_other_namespaces_works(lab: Lab, tmp_path: Path) -> None:
    [line] = re.findall(r"in a container, `--cap-add ([A-Z_,]+)`", (ROOT / "README.md").read_text())
    ns = lab.netns()
    run_in(ns, "nft", "-f", "-", stdin=TRACKING)
    run_in(ns, "ping", "-qc1", "127.0.0.1")
    inside = ("nsenter", f"--net=/run/netns/{ns}", *with_only(*line.lower().split(",")))
    recording = tmp_path / "r.pcapng"
    for words, expected in (
        (("flows",), "127.0.0.1"),
        (("rules",), "ct state new counter"),
        (("counters",), "conntrack"),
        (("record", "-w", str(recording), "--duration", "0.2"), ""),
    ):
        done = nettop(*words, before=inside)
        assert (done.returncode, expected in done.stdout) == (0, True), (words, done)
    assert recording.stat().st_uid == 0
    done = nettop("flows", "--netns", ns, before=inside)
    assert (done.returncode, done.stderr) == (
        4,
        "nettop: entering the namespace: Operation not permitted: CAP_SYS_ADMIN is missing\n",
    )


def test_a_demo_in_a_container_that_may_make_no_namespaces_names_the_capability() -> None:
    before = with_only("net_admin", "net_raw", "setuid", "setgid")
    with terminal("demo", before=before, env={"HOME": "/"}, size=(45, 200)) as screen:
        poll(lambda: screen.shows("192.168.1.2"))
        reason = "cannot make private namespaces: Operation not permitted"
        assert screen.shows(f"not the lab: {reason}: a container needs --cap-add SYS_ADMIN,NET_ADMIN,NET_RAW")
        screen.quit()


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        (("net_admin", "net_raw"), ("missing", "CAP_SETUID and CAP_SETGID are missing", "SETUID,SETGID")),
        (("net_raw", "setuid", "setgid"), ("missing", "CAP_NET_ADMIN is missing", "NET_ADMIN")),
        (("net_admin", "net_raw", "setuid", "setgid", "sys_ptrace", "dac_read_search"),
         ("limited", "CAP_SYS_ADMIN is missing; no other namespaces, no demo as root", "SYS_ADMIN")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("user", [(), NOBODY[1:]], ids=["root", "a user there"])
def test_the_doctor_lists_missing_capabilities(
    held: tuple[str, ...], expected: tuple[str, str, str], user: tuple[str, ...]
) -> None:
    rows = nettop("doctor", "--json", before=(*with_only(*held), *user)).stdout
    [row] = [row for row in map(json.loads, rows.splitlines()) if row["name"] == "capabilities"]
    state, found, added = expected
    assert (row["state"], row["remedy"]) == (state, f"a container needs --cap-add {added}")
    assert row["found"].startswith(found)


LATE_CHILD = """
import pathlib, select, signal
from nettop.broker import children
child = children.start(children.ChildTask("the child", signal.pause, None, 0.0))
while "65534" not in pathlib.Path(f"/proc/{child.pid}/status").read_text():
    pass
child.kill("it took too long")
assert not select.select([child.pidfd], [], [], 0)[0], "CAP_KILL is there"
select.select([child.pidfd], [], [], 30)
child.outcome()
"""


def test_a_child_that_takes_too_long_ends_by_itself_where_its_broker_lacks_cap_kill() -> None:
    command = [*with_only("setuid", "setgid"), app_command({})[0], "-c", LATE_CHILD]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30, cwd=ROOT)
    assert done.stderr.splitlines()[-1] == "nettop.errors.BrokerError: the child: it took too long"


def test_without_net_raw_everything_but_capturing_works() -> None:
    with App({"do": ["dump", "capture"]}, ("setpriv", "--bounding-set=-net_raw", "--inh-caps=-all")) as app:
        app.expect("ready")
        assert app.expect("dump")["flows"] >= 0
        assert app.end() == 1


# sudo: in a mount namespace whose sudoers, passwd and shadow are the test's own; the host's files are not touched.


sudo_works = only_root("the setuid bit of sudo has no effect in a user namespace")


@pytest.fixture
def sudo_world(shared_directory: Path) -> Iterator[Any]:
    """A function that gives the prefix of a command to run as nt-user, whom `rule` (a sudoers line) is about."""
    if shutil.which("sudo") is None:
        pytest.skip("sudo is not installed")
    hashed = subprocess.run(["openssl", "passwd", "-6", PASSWORD], capture_output=True, text=True, check=True).stdout
    made = shared_directory / "etc"
    made.mkdir()
    for name, line, mode in (
        ("passwd", f"nt-user:x:{USER}:{USER}::/:/bin/sh\n", 0o644),
        ("shadow", f"nt-user:{hashed.strip()}:19000::::::\n", 0o600),
    ):
        (made / name).write_text(Path(f"/etc/{name}").read_text() + line)
        (made / name).chmod(mode)
    (made / "sudoers.d").mkdir(mode=0o750)

    def prefix(rule: str) -> tuple[str, ...]:
        file = made / "sudoers.d" / "nt"
        file.write_text(rule + "\n")
        file.chmod(0o440)
        mounts = "; ".join(f"mount --bind {made}/{name} /etc/{name}" for name in ("passwd", "shadow", "sudoers.d"))
        as_user = f"exec setpriv --reuid={USER} --regid={USER} --clear-groups"
        return "unshare", "--mount", "--propagation", "private", "sh", "-ec", f'{mounts}; {as_user} "$@"', "sh"

    yield prefix


@sudo_works
def test_sudo_starts_the_broker_and_the_app_never_has_a_privilege(sudo_world: Any) -> None:
    before = sudo_world("nt-user ALL=(root) NOPASSWD: ALL")
    with App({"mode": "sudo", "do": ["dump", "whoami"]}, before) as app:
        ready = app.expect("ready")
        assert app.expect("dump")["own_request_refused"] is True
        assert app.expect("whoami")["uids"] == [USER] * 3
        assert int(status_of(ready["pid"])["CapPrm"], 16) == 0
        assert status_of(ready["broker"])["Uid"].split() == ["0"] * 4
        assert app.end() == 0
        assert is_gone(ready["broker"])


@sudo_works
def test_sudo_asks_for_the_password_on_the_terminal(sudo_world: Any) -> None:
    before = sudo_world("nt-user ALL=(root) ALL")
    command = [*before, *app_command({"mode": "sudo", "do": ["whoami"]})]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execvp(command[0], command)
    try:
        assert "password for nt-user" in read_until(terminal, "nt-user: ")
        os.write(terminal, PASSWORD.encode() + b"\n")
        assert f'"uids": [{USER}, {USER}, {USER}]' in read_until(terminal, '"gids"')
        os.write(terminal, b"\x04")
        read_until(terminal, None)
    finally:
        os.close(terminal)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@sudo_works
def test_our_own_prompt_leaves_no_ticket_behind(sudo_world: Any) -> None:
    """Otherwise hostile code in the app, or any program on the terminal, could use it for some minutes."""
    before = sudo_world("nt-user ALL=(root) ALL")
    command = shlex.join(app_command({"mode": "sudo", "do": ["whoami"]}))
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execvp(before[0], [*before, "sh", "-c", f"{command}; sudo -n true; echo TICKET $?"])
    try:
        read_until(terminal, "nt-user: ")
        os.write(terminal, PASSWORD.encode() + b"\n")
        read_until(terminal, '"gids"')
        os.write(terminal, b"\x04")
        assert "TICKET 1" in read_until(terminal, "TICKET 1")
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)


@sudo_works
def test_a_program_that_others_may_change_is_not_run_as_root(sudo_world: Any, shared_directory: Path) -> None:
    """Before a password is asked for; ./dev runs a clone of the user's own, and says so itself."""
    copy = shared_directory / "clone"
    shutil.copytree(ROOT / "nettop", copy / "nettop", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["chown", "-R", str(USER), copy], check=True)
    before = sudo_world("nt-user ALL=(root) NOPASSWD: ALL")
    code = f"import sys; sys.path.insert(0, {str(copy)!r}); from nettop.__main__ import main; sys.exit(main())"
    command = [*before, app_command({})[0], "-c", code, "flows"]
    ran = {"capture_output": True, "text": True, "check": False, "timeout": 60, "cwd": "/"}
    done = subprocess.run(command, env=without_dev(), **ran)
    assert done.returncode == 4 and "may be changed by nt-user, and the broker would run it as root" in done.stderr
    done = subprocess.run(command, env={**without_dev(), "NETTOP_DEV": "1"}, **ran)
    assert done.returncode == 0, done.stderr


def without_dev() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "NETTOP_DEV"}


def test_the_app_becomes_the_system_user_nettop_where_there_is_one(shared_directory: Path) -> None:
    passwd = shared_directory / "passwd"
    passwd.write_text(Path("/etc/passwd").read_text() + "nettop:x:987:987::/nonexistent:/usr/sbin/nologin\n")
    passwd.chmod(0o644)
    before = ("unshare", "--mount", "--propagation", "private", "sh", "-ec")
    before = (*before, f'mount --bind {passwd} /etc/passwd; exec "$@"', "sh")
    path = shared_directory / "a.pcapng"
    with App({"do": ["whoami", "output"], "path": str(path)}, before, as_sudo()) as app:
        app.expect("ready")
        assert app.expect("whoami")["uids"] == [987] * 3
        assert app.expect("output")["error"] == ""
    assert path.stat().st_uid == USER


@sudo_works
def test_a_refusing_sudo_is_a_clear_error(sudo_world: Any) -> None:
    with App({"mode": "sudo"}, sudo_world("# nobody may")) as app:
        error = app.expect("error")
        assert app.end() == 4
    assert error["type"] == "NotPermitted"
    assert error["text"].startswith("sudo did not start the broker (status 1): run `sudo nettop`")


def test_a_missing_doas_is_a_clear_error() -> None:
    with App({"mode": "doas"}, AS_NOBODY) as app:
        assert app.expect("error")["text"].startswith("doas is not installed: run `sudo nettop`")


def read_until(terminal: int, text: str | None, deadline_s: float = DEADLINE_S) -> str:
    """What the terminal shows up to (and with) `text`, or up to its end."""
    shown = ""
    while text is None or text not in shown:
        assert select.select([terminal], [], [], deadline_s)[0], f"nothing more after {shown!r}"
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # the other side has ended
            chunk = b""
        if not chunk:
            assert text is None, f"ended after {shown!r}"
            break
        shown += chunk.decode(errors="replace")
    return shown


def test_processes_of_other_users_are_found_with_the_least_rights(broker: Broker, lab: Lab) -> None:
    """The child that looks is nobody: neither capability is enough alone."""
    ns = lab.netns()
    roots = holding(lab, ns, "own(V4, UDP).bind(('127.0.0.1', 1))")
    for one in (SYS_PTRACE, DAC_READ_SEARCH):
        assert pids_a_child_sees(ns, frozenset({one})) == [None]
    assert pids_a_child_sees(ns, frozenset({SYS_PTRACE, DAC_READ_SEARCH})) == [roots.pid]
    users = holding(lab, ns, "own(V4, UDP).bind(('127.0.0.1', 2000))", "setpriv", f"--reuid={USER}", "--clear-groups")
    found = {row["lport"]: (row["uid"], row["pid"]) for row in sockets_in(broker, ns)}
    assert found == {1: (0, roots.pid), 2000: (USER, users.pid)}
