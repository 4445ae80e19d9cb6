"""A session on a file: opened first, looked at only when it is started, closed as often as one likes."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from queue import SimpleQueue

import pytest

from nettop.batch import Counter64
from nettop.errors import InputError
from nettop.model.table import Snapshot, ViewSpec
from nettop.recording.merging import CaptureInput
from nettop.session.replay import ReplaySession
from tests.kernel.namespaces import poll
from tests.unit.recording.handmade import epb, idb, pcap, read, records, shb


def rows(session: ReplaySession) -> int:
    answers: SimpleQueue[Snapshot] = SimpleQueue()
    session.ask("packets", ViewSpec(("number", "info")), answers.put)
    return len(answers.get(timeout=30).rows)


def test_its_packets_are_shown_and_nothing_is_left(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    path = tmp_path / "f"
    path.write_bytes(shb() + idb("<", (9, b"\x09")) + epb(bytes(60), 1_000) + epb(bytes(60), 2_000))
    threads = set(threading.enumerate())
    session = ReplaySession(str(path))
    assert set(threading.enumerate()) <= threads
    session.start()
    poll(lambda: rows(session) == 2)
    session.close()
    session.close()
    assert len(os.listdir("/proc/self/fd")) <= before


def started(path: Path, speed: float | None = None) -> ReplaySession:
    session = ReplaySession(str(path), speed)
    session.start()
    return session


def test_a_plain_capture_begins_with_its_packets_and_a_recording_with_its_flows(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(pcap([(1, 1, bytes(60))]))
    recorded = Path(__file__).parents[3] / "captures" / "ipv6.pcapng"
    for path, view in ((plain, "packets"), (recorded, "")):
        session = started(path)
        assert session.first_view == view
        session.close()


def test_a_paced_replay_says_when_it_has_reached_the_end(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(shb() + idb("<", (9, b"\x09")) + epb(bytes(60), 1_000) + epb(bytes(60), 400_001_000))
    session = started(path, speed=1.0)
    poll(lambda: rows(session) == 1)
    assert session.status().mode == "REPLAY"
    poll(lambda: session.status().mode == "REPLAY ENDED")
    assert rows(session) == 2
    session.close()


@pytest.mark.parametrize(
    ("links", "name", "form"),
    [
        ((1, 1), "o.pcap", "pcap"),
        ((1, 1), "o.pcapng", "pcapng"),
        ((1, 113), "o.pcap", "pcapng (pcap holds one link type only)"),
    ],
)
def test_an_export_says_count_format_and_path_and_is_in_the_order_of_time(
    links: tuple[int, int], name: str, form: str, tmp_path: Path
) -> None:
    path = tmp_path / "f"
    data = b"".join(epb(bytes(60), i, interface=i * 7 % 5 % 2) for i in range(1, 60))
    path.write_bytes(shb() + b"".join(idb("<", (9, b"\x09"), (2, b"e%d" % i), link=links[i]) for i in range(2)) + data)
    session = started(path)
    session._services = _Outputs()  # type: ignore[assignment]
    poll(lambda: session._run.ended)
    answers: SimpleQueue[str | None] = SimpleQueue()
    session.export(str(tmp_path / name), None, answers.put, answers.put)
    assert answers.get(timeout=30) == f"59 packets written as {form} to {tmp_path / name}"
    assert answers.get(timeout=30) is None
    session.close()
    times = [ts_ns for _, ts_ns, _ in records(read((tmp_path / name).read_bytes(), tmp_path / "again"))]
    if form == "pcap":
        assert times == list(range(1, 60))
    batches = CaptureInput(str(tmp_path / name), os.open(tmp_path / name, os.O_RDONLY), Counter64(), lambda one, _: one)
    numbered = [int(at) for part in batches.read() if part.batch for at in part.batch.ts_ns]
    assert sorted(numbered) == list(range(1, 60))


class _Outputs:
    """A broker that only creates files."""

    def open_output(self, path: str) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)

    def close(self) -> None:
        return


def test_nothing_of_the_file_is_looked_at_before_the_start(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("no capture")
    session = ReplaySession(str(tmp_path / "f"))
    with pytest.raises(InputError, match="not a capture"):
        session.start()
    session.close()


def test_what_cannot_be_opened_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="directory"):
        ReplaySession(str(tmp_path))


def test_it_may_be_closed_before_it_was_started(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    (tmp_path / "f").write_text("whatever")
    session = ReplaySession(str(tmp_path / "f"))
    session.close()
    assert len(os.listdir("/proc/self/fd")) <= before
