"""The commands as users use them: what they print, how they end, whom the files belong to, what they leave behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nettop.linux.netlink import NETLINK_NETFILTER
from tests.kernel.commands import NOBODY, command, environment, holds, nettop, rows, running, size_of
from tests.kernel.namespaces import Lab, keep_flows, netlink_sockets, poll, run_in
from tests.kernel.processes import is_gone, status_of
from tests.kernel.rights import named_namespaces, other_users

pytestmark = pytest.mark.kernel

RULES = """
table inet t {
    chain o { type filter hook output priority 0; policy accept; ct state new counter accept comment "seen"; }
}
"""


@pytest.fixture
def gateway(lab: Lab) -> str:
    """A namespace that tracks connections and counts them."""
    ns = lab.netns("a")
    run_in(ns, "nft", "-f", "-", stdin=RULES)
    run_in(ns, "sysctl", "-qw", "net.netfilter.nf_conntrack_acct=1")
    keep_flows(ns)
    return ns


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Where every user may write."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        yield Path(name)


def ping(ns: str, count: int = 1) -> None:
    run_in(ns, "ping", "-c", str(count), "-i", "0.01", "127.0.0.1")


def conntrack(ns: str, *argv: str) -> list[str]:
    return run_in(ns, "conntrack", *argv, check=False).splitlines()


# -- one result --


def test_flows_of_an_empty_namespace_are_none(lab: Lab) -> None:
    done = nettop("flows", "--json", "--netns", lab.netns("a"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_flows_are_what_conntrack_lists(gateway: str) -> None:
    ping(gateway)
    listed = {re.search(r"id=(\d+)$", line).group(1) for line in conntrack(gateway, "-L", "-o", "id")}  # type: ignore[union-attr]
    assert {str(row["id"]) for row in rows("flows", "--netns", gateway)} == listed
    assert len(listed) == 1


def test_flows_sorted_by_rate_take_two_dumps(gateway: str, lab: Lab) -> None:
    lab.spawn_in(gateway, "ping", "-i", "0.05", "127.0.0.1")
    poll(lambda: conntrack(gateway, "-L"))
    found = rows("flows", "--netns", gateway, "--sort", "rate", "-n", "1")
    assert [row["proto"] for row in found] == ["icmp"]


def test_counters_are_what_conntrack_says(gateway: str) -> None:
    ping(gateway, 3)
    stats = conntrack(gateway, "-S")
    wanted = {
        (int(cpu), name.replace("chaintoolong", "chain_toolong")): int(value)
        for cpu, line in (re.match(r"cpu=(\d+)\s+(.*)", line).groups() for line in stats)  # type: ignore[union-attr]
        for name, value in re.findall(r"(\w+)=(\d+)", line)
    }
    found = {(row["cpu"], row["name"]): row["value"] for row in rows("counters", "--netns", gateway)}
    assert wanted
    assert {key: found.get(key) for key in wanted} == wanted
    assert found[None, "entries"] == int(run_in(gateway, "sysctl", "-n", "net.netfilter.nf_conntrack_count"))


def test_counters_come_again_with_rates(gateway: str) -> None:
    found = rows("counters", "--netns", gateway, "--interval", "0.2", "--count", "3")
    entries = [row for row in found if row["name"] == "entries"]
    assert len(entries) == 3
    assert any(row["rate"] is not None for row in found if row["ts_ns"] > entries[0]["ts_ns"])


def test_rules_are_those_of_nft(gateway: str) -> None:
    ping(gateway)
    found = rows("rules", "--netns", gateway)
    rule = next(row for row in found if row["kind"] == "rule" and row["number"] == 1)
    assert (rule["table"], rule["chain"], rule["hook"], rule["priority"]) == ("t", "o", "output", 0)
    assert rule["text"] in " ".join(run_in(gateway, "nft", "list", "ruleset").split())
    assert rule["packets"] == 1


# -- streams, recordings --


def start_listening(ns: str, name: str = "conntrack") -> Callable[[], bool]:
    """Whether somebody in this namespace listens to conntrack events (a netlink socket that joined groups)."""

    def listening() -> bool:
        lines = netlink_sockets(ns)
        return any(line[1] == "12" and int(line[3], 16) & 0x3F == 0x3F for line in lines)

    return listening


def test_events_are_those_that_happen_and_count_ends_them(gateway: str) -> None:
    with running("events", "--json", "--netns", gateway, "--count", "1", "--filter", "icmp") as events:
        poll(start_listening(gateway))
        ping(gateway)
        code, out, err = events.end()
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 1
    assert '"event":"new"' in out.replace(" ", "")


def test_a_duration_ends_events(gateway: str) -> None:
    done = nettop("events", "--netns", gateway, "--duration", "0.3")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_stream_in_good_order(gateway: str, number: int) -> None:
    with running("events", "--netns", gateway) as events:
        poll(start_listening(gateway))
        ping(gateway)
        events.signal(number)
        code, out, err = events.end()
    assert (code, err) == (0, "")
    assert "127.0.0.1" in out


def test_ctrl_c_ends_what_a_shell_started_in_the_background(gateway: str) -> None:
    ignoring = ("env", "--ignore-signal=INT")
    with running("events", "--netns", gateway, before=ignoring) as events:
        poll(start_listening(gateway))
        events.signal()
        assert events.end()[0] == 0


def test_events_end_when_nobody_reads_though_none_comes(gateway: str) -> None:
    with running("events", "--netns", gateway) as events:
        poll(start_listening(gateway))
        assert events.process.stdout is not None
        events.process.stdout.close()
        assert events.process.wait(30) == 0
        assert events.process.stderr is not None
        assert events.process.stderr.read() == b""


@pytest.mark.parametrize("words", ["events", "flows", "rules", "counters"])
def test_a_closed_stdout_is_an_end(gateway: str, words: str) -> None:
    some = ("-s", "10.1.0.1", "-d", "10.2.0.1", "--sport", "1", "--dport", "2", "-t", "60")
    run_in(gateway, "conntrack", "-I", "-p", "udp", *some)
    shell = f'exec "$@" >&-; exit 9'  # noqa: F541
    argv = ["sh", "-c", shell, "sh", *command(words, "--netns", gateway)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=environment(), cwd="/", check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_recording_says_what_the_live_run_said(gateway: str, lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "r.pcapng"
    with running("record", "--netns", gateway, "-w", str(path)) as recording:
        poll(lambda: holds(path, b"nft-ruleset", b"sysctls") and start_listening(gateway)())
        ping(gateway, 5)
        flows = rows("flows", "--netns", gateway)
        run_in(gateway, "nft", "add", "chain", "inet", "t", "later")
        poll(lambda: size_of(path) and holds(path, b"chain later"), what="the new chain's words")
        rules = rows("rules", "--netns", gateway)
        recording.signal()
        code, _, err = recording.end()
    assert code == 0, err
    assert re.fullmatch(r"nettop: 10 packets, [\d,]+ netlink messages to \S+ \(\S+B\); lost 0\n", err), err
    assert len(rows("read", str(path))) == 10
    assert {row["id"] for row in rows("flows", "-r", str(path))} == {row["id"] for row in flows}
    events = rows("events", "-r", str(path))
    assert [row["event"] for row in events][:1] == ["new"]

    def told(found: list[dict[str, object]]) -> list[tuple[object, ...]]:
        return [(row["kind"], row["table"], row.get("chain"), row.get("handle"), row.get("text")) for row in found]

    without_counts = [row for row in rules if row.get("packets") is None]
    replayed = rows("rules", "-r", str(path))
    assert told([row for row in replayed if row.get("packets") is None]) == told(without_counts)
    assert [row.get("chain") for row in replayed] == [row.get("chain") for row in rules]


def test_a_recording_streams_through_a_pipe(gateway: str) -> None:
    shell = '"$0" -m nettop record --netns "$1" -w - --count 4 2>/dev/null | "$0" -m nettop read - --json'
    argv = ["sh", "-c", shell, sys.executable, gateway]
    reading = subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment(), cwd="/")
    try:
        poll(start_listening(gateway))
        ping(gateway, 4)
        out, _ = reading.communicate(timeout=60)
    finally:
        reading.kill()
        reading.wait()
    assert reading.returncode == 0
    assert len(out.splitlines()) == 4


def test_a_recording_whose_reader_goes_ends_well(gateway: str) -> None:
    with running("record", "--netns", gateway, "-w", "-") as recording:
        poll(start_listening(gateway))
        assert recording.process.stdout is not None
        recording.process.stdout.close()
        assert recording.process.wait(30) == 0


def test_a_recording_of_one_packet_has_the_rules_and_flows_of_its_start(gateway: str, lab: Lab, tmp_path: Path) -> None:
    for start in range(0, 4_000, 250):  # a user namespace's socket takes no larger transaction
        numbers = range(start, start + 250)
        rules = "".join(f'add rule inet t o ip daddr 10.0.0.{i % 250} counter comment "{i}"\n' for i in numbers)
        run_in(gateway, "nft", "-f", "-", stdin=rules)
    lab.spawn_in(gateway, "ping", "-i", "0.002", "127.0.0.1")  # the packet comes before the rules are read
    path = tmp_path / "short.pcapng"
    done = nettop("record", "--netns", gateway, "-i", "lo", "-w", str(path), "--count", "1")
    assert done.returncode == 0 and done.stderr.startswith("nettop: 1 packet, "), done.stderr
    assert sum(row["kind"] == "rule" for row in rows("rules", "-r", str(path))) == 4_002  # with the policy
    assert rows("flows", "-r", str(path))


def test_count_is_exact(gateway: str, lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "r.pcapng"
    lab.spawn_in(gateway, "ping", "-i", "0.01", "127.0.0.1")
    done = nettop("record", "--netns", gateway, "-w", str(path), "--count", "17")
    assert done.returncode == 0, done.stderr
    assert len(rows("read", str(path))) == 17


def test_rotation_says_the_total_of_all_files(gateway: str, lab: Lab, tmp_path: Path) -> None:
    lab.spawn_in(gateway, "ping", "-i", "0.002", "-s", "1400", "127.0.0.1")
    path = tmp_path / "r.pcapng"
    argv = ("--rotate-bytes", "100000", "--count", "400")
    done = nettop("record", "--netns", gateway, "-w", str(path), *argv)
    assert done.returncode == 0, done.stderr
    files = sorted(tmp_path.glob("r-*.pcapng"))
    assert len(files) >= 2  # a ring's block is written whole, however many packets it holds
    total = sum(file.stat().st_size for file in files)
    said = re.search(r"and (\d+) more \(([\d.]+)([kM])B\)", done.stderr)
    assert said is not None, done.stderr
    assert int(said[1]) == len(files) - 1
    unit = 1000 if said[3] == "k" else 1_000_000  # the map of a host with many namespaces is in it
    assert abs(float(said[2]) * unit - total) < max(5000, unit / 10)
    assert sum(len(rows("read", str(file))) for file in files) == 400


def test_a_recording_whose_name_says_pcap_is_said_to_be_pcapng(gateway: str, tmp_path: Path) -> None:
    path = tmp_path / "r.pcap"
    done = nettop("record", "--netns", gateway, "-w", str(path), "--duration", "0.5")
    assert (done.returncode, "becomes pcapng" in done.stderr) == (0, True), done.stderr
    assert path.read_bytes()[:4] == b"\n\r\r\n"


def test_every_rotated_file_has_all_kinds_of_counters(gateway: str, tmp_path: Path) -> None:
    path = tmp_path / "r.pcapng"
    with running("record", "--netns", gateway, "-w", str(path), "--rotate-seconds", "2") as recording:
        poll(lambda: len(list(tmp_path.glob("r-*.pcapng"))) >= 4, 60, what="four files")
        recording.signal()
        code, _, err = recording.end()
    assert code == 0, err
    files = sorted(tmp_path.glob("r-*.pcapng"))
    groups = [{row["group"] for row in rows("counters", "-r", str(file))} for file in files]
    assert {"conntrack", "tcp", "softnet"} <= groups[0]
    assert all(groups[0] <= one for one in groups[1:-1])  # the last one may have been open for a moment only


# -- whose it is --


@other_users
@pytest.mark.parametrize(("env", "owner"), [({"SUDO_UID": "1234", "SUDO_GID": "1234"}, 1234), ({}, 0)])
def test_who_records_has_no_rights_and_the_file_is_the_callers(
    gateway: str, open_directory: Path, env: dict[str, str], owner: int
) -> None:
    path = open_directory / "r.pcapng"
    with running("record", "--netns", gateway, "-w", str(path), env=env) as recording:
        poll(lambda: size_of(path))
        status = status_of(recording.pid)
        recording.signal()
        assert recording.end()[0] == 0
    assert status["Uid"].split() == [str(owner or 65534)] * 4
    assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert path.stat().st_uid == owner


@other_users
def test_a_user_without_sudo_is_told_the_remedy() -> None:
    done = nettop("flows", before=NOBODY, PATH="/nonexistent")
    assert done.returncode == 4
    assert "CAP_NET_ADMIN" in done.stderr
    assert "sudo nettop" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_inside_a_user_namespace_everything_works(lab: Lab) -> None:
    script = 'ip link set lo up; nft add table t; nft "add chain t c { type filter hook output priority 0; }"; '
    script += 'nft add rule t c ct state new; ping -qc1 127.0.0.1 >/dev/null; exec "$@"'
    before = ("unshare", "-Urn", "sh", "-c", script, "sh")
    done = nettop("flows", "--json", before=before)
    assert (done.returncode, done.stderr) == (0, "")
    assert '"icmp"' in done.stdout


@other_users
@pytest.mark.parametrize("words", [["read"], ["flows", "-r"], ["events", "-r"], ["rules", "-r"], ["counters", "-r"]])
def test_a_file_is_parsed_without_rights(tmp_path: Path, words: list[str]) -> None:
    """The file is a pipe that nobody writes to yet: it is open, but not a byte has been parsed."""
    fifo = tmp_path / "f"
    os.mkfifo(fifo, 0o600)
    with running(*words, str(fifo)) as reading:
        writing = os.open(fifo, os.O_WRONLY)  # waits for the reader
        try:
            poll(lambda: status_of(reading.pid)["Uid"].split() == ["65534"] * 4)
            assert int(status_of(reading.pid)["CapEff"], 16) == 0
        finally:
            os.close(writing)
        assert reading.end()[0] == 1  # it is empty


# -- how it ends --


def test_killing_the_app_ends_its_broker(gateway: str) -> None:
    with running("events", "--netns", gateway) as events:
        poll(start_listening(gateway))
        broker = events.broker()
        events.signal(signal.SIGKILL)
        events.process.wait()
        poll(lambda: is_gone(broker))


@pytest.mark.parametrize("words", [["events"], ["counters", "--interval", "0.2"], ["record", "-w", "{path}"]])
def test_killing_the_broker_is_a_clear_end(gateway: str, tmp_path: Path, words: list[str]) -> None:
    path = tmp_path / "r.pcapng"
    argv = [word.format(path=path) for word in words]
    with running(*argv, "--netns", gateway) as app:
        broker = app.broker()
        poll(lambda: is_watched(gateway) and (size_of(path) > 1000 or "{path}" not in words))
        os.kill(broker, signal.SIGKILL)
        code, _, err = app.end()
    assert code == 1
    assert "the broker ended" in err
    assert "Traceback" not in err
    if path.exists():
        assert nettop("read", str(path)).returncode == 0


def is_watched(ns: str) -> bool:
    """Whether a process has a netfilter socket in the namespace (whose: its user may not see in a user namespace)."""
    lines = netlink_sockets(ns)
    return any(family == str(NETLINK_NETFILTER) and port != "0" for _, family, port, *_ in lines)


@named_namespaces
@pytest.mark.parametrize("words", [["events"], ["counters", "--interval", "0.2"], ["record", "-w", "{path}"]])
def test_a_deleted_namespace_is_let_go_within_a_second(lab: Lab, tmp_path: Path, words: list[str]) -> None:
    ours, theirs = lab.netns("a"), lab.netns("b")
    lab.veth_pair(ours, theirs)
    path = tmp_path / "r.pcapng"
    argv = [word.format(path=path) for word in words]
    with running(*argv, "--netns", ours) as app:
        poll(lambda: is_watched(ours) and (size_of(path) > 1000 or "{path}" not in words))
        lab.remove(ours)
        poll(lambda: "veth0" not in run_in(theirs, "ip", "link"), what="the veth's end is gone")
        code, _, err = app.end()
    assert code == 1
    assert "namespace is gone" in err


def test_ctrl_c_before_there_is_a_result_is_130(gateway: str) -> None:
    def interrupted() -> tuple[int, str, str]:
        with running("flows", "--netns", gateway, "--sort", "rate", "--filter", "rate > 1") as flows:
            poll(lambda: flows.process.poll() is not None or is_watched(gateway))
            flows.signal()
            return flows.end()

    ended = poll(lambda: end if (end := interrupted()) != (0, "", "") else None, what="an interrupt within its second")
    assert ended == (130, "", "")
