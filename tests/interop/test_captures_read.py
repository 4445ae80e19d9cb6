"""`nettop read` on captures of many kinds: order of time, what an export keeps, formats, losses in their places."""

from __future__ import annotations

import io
import json
import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from nettop.headless import read
from nettop.recording import merging
from tests.interop.captures_by_hand import AT, full, udp
from tests.unit.recording.handmade import block, epb, idb, options, pcap, shb

pytestmark = pytest.mark.interop

TIMEOUT = 60
NS = (9, b"\x09")


def nettop(*arguments: str | Path, stdin: bytes | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nettop", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, input=stdin, timeout=TIMEOUT, check=False)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


def rows(*arguments: str | Path, stdin: bytes | None = None) -> list[dict[str, object]]:
    return [json.loads(line) for line in nettop("read", "--json", *arguments, stdin=stdin).stdout.splitlines()]


def tshark(path: Path, *fields: str) -> list[str]:
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", *(part for field in fields for part in ("-e", field))]
    return subprocess.run(command, capture_output=True, check=True, text=True, timeout=TIMEOUT).stdout.splitlines()


def capinfos(path: Path) -> dict[str, str]:
    done = subprocess.run(["capinfos", str(path)], capture_output=True, check=True, text=True, timeout=TIMEOUT)
    lines = (line.replace(" = ", ": ").partition(":") for line in done.stdout.splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


def save(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


FIELDS = ("frame.number", "frame.time_epoch", "frame.comment", "frame.packet_id", "frame.interface_queue",
          "frame.drop_count", "frame.interface_name", "frame.interface_description")  # fmt: skip


@pytest.mark.parametrize("order", "<>")
def test_an_export_keeps_all_that_the_file_has(order: str, tmp_path: Path) -> None:
    whole = save(tmp_path / "a.pcapng", full(order))
    out = tmp_path / "b.pcapng"
    done = nettop("read", whole, "-w", out)
    assert (done.returncode, done.stderr) == (0, f"nettop: 2 packets written as pcapng to '{out}'\n")
    assert tshark(out, *FIELDS) == tshark(whole, *FIELDS)
    kept = {name: value for name, value in capinfos(whole).items() if "file" not in name.lower() or "Number" in name}
    again = capinfos(out)
    for name in ("SHA256", "SHA1", "RIPEMD160", "MD5"):
        kept.pop(name, None)
    assert kept.items() <= again.items()
    assert out.read_bytes() == full("<")


def test_a_filter_copies_the_packets_that_match_with_all_about_them(tmp_path: Path) -> None:
    whole = save(tmp_path / "a.pcapng", full("<"))
    out = tmp_path / "b.pcapng"
    assert nettop("read", whole, "--filter", "src port 1001", "-w", out).returncode == 0
    assert tshark(out, *FIELDS)[:1] == tshark(whole, *FIELDS)[:1] and [row["kind"] for row in rows(out)] == [
        "gap",
        "packet",
    ]
    assert capinfos(out)["Number of decryption secrets in file"] == "1"


def test_an_export_says_what_it_leaves_out(tmp_path: Path) -> None:
    extra = block(0x40000BAD, struct.pack("<I", 1) + b"keep") + block(0x99, b"what") * 2
    whole = save(tmp_path / "a.pcapng", full("<") + extra)
    done = nettop("read", whole, "-w", tmp_path / "b.pcapng")
    assert "left out: custom blocks that may not be copied, blocks of type 0x99 (2)" in done.stderr
    done = nettop("read", whole, "-w", tmp_path / "b.pcap")
    assert "written as pcap" in done.stderr and "comments" in done.stderr and "blocks of keys" in done.stderr
    assert tshark(tmp_path / "b.pcap", "frame.time_epoch") == tshark(whole, "frame.time_epoch")[:2]


@pytest.mark.parametrize("name", ["o.pcap", "o.CAP"])
def test_a_name_that_says_pcap_gets_pcap(name: str, tmp_path: Path) -> None:
    whole = save(tmp_path / "a.pcapng", shb() + idb("<", NS) + b"".join(epb(udp(i), i * 7) for i in range(9)))
    done = nettop("read", whole, "-w", tmp_path / name)
    assert done.stderr == f"nettop: 9 packets written as pcap to '{tmp_path / name}'\n"
    assert (tmp_path / name).read_bytes()[:4] == struct.pack("<I", 0xA1B23C4D)
    assert tshark(tmp_path / name, "frame.time_epoch", "frame.len") == tshark(whole, "frame.time_epoch", "frame.len")


def test_two_link_types_become_pcapng_with_a_word_why(tmp_path: Path) -> None:
    data = shb() + idb() + idb(link=113) + epb(udp(1), 1) + epb(bytes(20), 2, interface=1)
    whole = save(tmp_path / "a.pcapng", data)
    done = nettop("read", whole, "-w", tmp_path / "b.pcap")
    assert "pcap holds packets of one link type" in done.stderr and "written as pcapng" in done.stderr
    assert tshark(tmp_path / "b.pcap", "frame.len") == tshark(whole, "frame.len")
    done = nettop("read", whole, "--filter", "udp", "-w", tmp_path / "c.pcap")
    assert done.stderr.endswith(f"1 packet written as pcap to '{tmp_path / 'c.pcap'}'\n")


def test_a_name_of_compressed_data_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    whole = save(tmp_path / "a.pcap", pcap([(1, 1, udp())]))
    done = nettop("read", whole, "-w", tmp_path / "b.pcap.gz")
    assert done.returncode == 2 and not (tmp_path / "b.pcap.gz").exists()


def test_a_link_type_over_65535_survives_in_pcap(tmp_path: Path) -> None:
    whole = save(tmp_path / "a.pcap", pcap([(1, 1, b"abc")], link=70_000))
    assert rows(whole)[0]["linktype"] == 70_000
    assert nettop("read", whole, "-w", tmp_path / "b.pcap").returncode == 0
    assert rows(tmp_path / "b.pcap")[0]["linktype"] == 70_000
    done = nettop("read", whole, "-w", tmp_path / "c.pcapng")
    assert done.returncode == 1 and "no link type 70000" in done.stderr and len(done.stderr.splitlines()) <= 2


def two_devices(seed: int, count: int = 400) -> list[tuple[int, int]]:
    """(time, device) as rings deliver them: each device's packets in bunches."""
    generator, found = random.Random(seed), list[tuple[int, int]]()
    now = [AT, AT]
    while len(found) < count:
        device = generator.randrange(2)
        for _ in range(generator.randrange(1, 30)):
            now[device] += generator.randrange(1, 50)
            found.append((now[device], device))
    return found


def test_packets_of_two_devices_come_in_the_order_of_time_with_the_files_numbers(tmp_path: Path) -> None:
    found = two_devices(1)
    data = b"".join(epb(udp(i), at, interface=device) for i, (at, device) in enumerate(found))
    whole = save(tmp_path / "a.pcapng", shb() + idb("<", (2, b"a")) + idb("<", (2, b"b")) + data)
    got = rows(whole)
    expected = sorted(range(len(found)), key=lambda i: (found[i][0], i))
    assert [row["number"] for row in got] == [i + 1 for i in expected]
    text = nettop("read", whole).stdout.splitlines()
    assert [int(line.split()[0]) for line in text] == [i + 1 for i in expected]
    assert nettop("read", whole, "-w", tmp_path / "b.pcapng").returncode == 0
    assert capinfos(tmp_path / "b.pcapng")["Strict time order"] == "True"
    assert [row["sport"] for row in rows(tmp_path / "b.pcapng")] == [row["sport"] for row in got]
    piped = rows("-", stdin=whole.read_bytes())
    assert [row["number"] for row in piped] == [row["number"] for row in got]


def test_a_file_of_many_chunks_is_ordered_however_far_its_devices_are_apart(tmp_path: Path) -> None:
    count = 9_000
    early = b"".join(epb(udp(i, 900), AT + 2 * i) for i in range(count))
    late = b"".join(epb(udp(i, 900), AT + 2 * i + 1, interface=1) for i in range(count))
    whole = save(tmp_path / "a.pcapng", shb() + idb("<", (2, b"a")) + idb("<", (2, b"b")) + early + late)
    got = rows(whole)
    times = [row["ts_ns"] for row in got]
    assert len(got) == 2 * count and times == sorted(times)  # type: ignore[type-var]


@pytest.mark.parametrize("files", [2, 3, 12])
def test_several_files_are_merged_as_mergecap_merges_them(files: int, tmp_path: Path) -> None:
    generator = random.Random(files)
    times: list[list[int]] = [[] for _ in range(files)]
    for at in range(600):
        times[generator.randrange(files)].append(at)
    paths = [
        save(tmp_path / f"{name}.pcap", pcap([(1_700_000_000, at, udp(at)) for at in stamps]))
        for name, stamps in enumerate(times)
    ]
    merged = tmp_path / "merged.pcapng"
    subprocess.run(["mergecap", "-w", str(merged), *map(str, paths)], check=True, timeout=TIMEOUT)
    assert [row["sport"] for row in rows(*paths)] == [row["sport"] for row in rows(merged)]
    assert nettop("read", *paths, "-w", tmp_path / "ours.pcapng").returncode == 0
    assert tshark(tmp_path / "ours.pcapng", "udp.srcport") == tshark(merged, "udp.srcport")
    line = nettop("read", *paths).stdout.splitlines()[0]
    assert line.startswith(f"{paths[next(i for i, one in enumerate(times) if 0 in one)]}:    1  ")


def test_one_device_keeps_the_order_of_its_file(tmp_path: Path) -> None:
    """A clock that was set back shows, as in tcpdump."""
    whole = save(tmp_path / "a.pcap", pcap([(5, 0, udp(1)), (3, 0, udp(2)), (4, 0, udp(3))]))
    assert [row["sport"] for row in rows(whole)] == [1001, 1002, 1003]


def test_packets_without_a_time_have_none(tmp_path: Path) -> None:
    simple = block(3, struct.pack("<I", len(udp())) + udp())
    whole = save(tmp_path / "a.pcapng", shb() + idb() + simple + epb(udp(), AT) + simple)
    assert [row["ts_ns"] for row in rows(whole)] == [None, AT * 1000, None]
    lines = nettop("read", whole).stdout.splitlines()
    assert lines[0].startswith("– IP ") and lines[2].startswith("– IP ")
    assert nettop("read", whole, "-w", tmp_path / "b.pcapng").returncode == 0
    assert (tmp_path / "b.pcapng").read_bytes() == whole.read_bytes()


def test_losses_are_lines_where_they_happened(tmp_path: Path) -> None:
    drop = (4, struct.pack("<Q", 7))
    statistics = block(5, struct.pack("<III", 0, AT >> 32, (AT + 20) & 0xFFFFFFFF) + options((5, struct.pack("<Q", 9))))
    data = b"".join(epb(udp(i), AT + i, *([drop] if i == 4 else [])) for i in range(9))
    whole = save(tmp_path / "a.pcapng", shb() + idb("<", (2, b"eth0")) + data + statistics)
    lines = nettop("read", whole).stdout.splitlines()
    assert [at for at, line in enumerate(lines) if "GAP" in line] == [4, 10]
    assert "GAP 7 packets lost" in lines[4] and "GAP 2 packets lost" in lines[10]
    objects = rows(whole)
    assert [(at, one["lost"]) for at, one in enumerate(objects) if one["kind"] == "gap"] == [(4, 7), (10, 2)]


@pytest.mark.parametrize("command", ["flows", "events", "counters"])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_file_without_such_data_is_not_an_empty_table(command: str, form: list[str], tmp_path: Path) -> None:
    whole = save(tmp_path / "a.pcap", pcap([(1, 1, udp())]))
    done = nettop(command, "-r", whole, *form)
    assert (done.returncode, done.stdout) == (0, "")
    assert f"'{whole}' holds no" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_recording_of_a_quiet_network_has_no_events_and_says_nothing() -> None:
    path = Path(__file__).parents[2] / "captures" / "three-backends.pcapng"
    for command in ("flows", "events", "counters"):
        assert "holds no" not in nettop(command, "-r", path).stderr


def test_dates_are_shown_where_a_capture_spans_days(tmp_path: Path) -> None:
    whole = save(tmp_path / "a.pcap", pcap([(1_700_000_000 + 86_400 * i, 0, udp()) for i in range(3)]))
    assert [line[:10] for line in nettop("read", whole).stdout.splitlines()] == [
        "2023-11-14", "2023-11-15", "2023-11-16",
    ]  # fmt: skip
    assert nettop("read", "--time", "tt", whole).stdout.startswith("1700000000.000000 IP ")
    assert nettop("read", "--time", "what", whole).returncode == 2


@pytest.mark.parametrize("number", [5_000, 70_000])
def test_many_interfaces_are_read_and_exported(number: int, tmp_path: Path) -> None:
    data = shb() + idb() * number + epb(udp(1), AT) + epb(udp(2), AT + 1, interface=number - 1)
    whole = save(tmp_path / "a.pcapng", data)
    assert [row["sport"] for row in rows(whole)] == [1001, 1002]
    assert nettop("read", whole, "-w", tmp_path / "b.pcapng").returncode == 0
    assert tshark(tmp_path / "b.pcapng", "udp.srcport") == ["1001", "1002"]


def test_damage_that_costs_only_itself_is_reported_with_its_place(tmp_path: Path) -> None:
    tail = block(6, struct.pack("<5I", 0, 0, 1, 4, 4) + b"data" + struct.pack("<HH", 1, 5000) + b"c")
    whole = save(tmp_path / "a.pcapng", shb() + idb() + tail + epb(udp(), AT))
    done = nettop("read", whole)
    assert (done.returncode, done.stdout.count("\n")) == (3, 2)
    assert "damaged at byte 48: an option of a packet reaches past its block; the rest was read" in done.stderr


def test_devices_too_far_apart_for_the_memory_are_read_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(merging, "MAX_HELD", 2)
    early = b"".join(epb(udp(i, 900), AT + 2 * i) for i in range(20_000))
    late = b"".join(epb(udp(i, 900), AT + 2 * i + 1, interface=1) for i in range(20_000))
    whole = save(tmp_path / "a.pcapng", shb() + idb("<", (2, b"a")) + idb("<", (2, b"b")) + late + early)
    out = io.BytesIO()
    assert read.read_files(read.open_files([str(whole)]), None, read.PacketPrinter(out, False)) == 0
    assert out.getvalue().count(b"\n") == 40_000
    assert capsys.readouterr().err.count("too far apart") == 1


def test_a_file_that_cannot_be_read_counts_more_than_a_damaged_one(tmp_path: Path) -> None:
    cut = save(tmp_path / "cut.pcap", pcap([(1, 1, udp())] * 2)[:-9])
    done = nettop("read", tmp_path / "none", cut)
    assert (done.returncode, done.stdout.count("\n"), len(done.stderr.splitlines())) == (1, 1, 2)


@pytest.mark.parametrize("orders", ["<<", "<>", ">>"])
def test_sections_that_overlap_in_time_are_exported_as_one(orders: str, tmp_path: Path) -> None:
    """The second section's interface must be described before its packets, which are as early as the first's."""
    whole = save(tmp_path / "a.pcapng", full(orders[0]) + full(orders[1]).replace(b"eth7", b"eth8"))
    assert nettop("read", whole, "-w", tmp_path / "b.pcapng").returncode == 0
    found = tshark(tmp_path / "b.pcapng", "frame.interface_name", "frame.packet_id", "udp.srcport")
    named = sorted(line for line in found if line.strip())
    assert named == ["eth7\t\t1002", "eth7\t99\t1001", "eth8\t\t1002", "eth8\t99\t1001"]
    assert nettop("read", tmp_path / "b.pcapng").returncode == 0


def test_an_option_that_reaches_past_its_block_is_not_copied(tmp_path: Path) -> None:
    tail = block(6, struct.pack("<5I", 0, 0, 1, 4, 4) + b"data" + struct.pack("<HH", 1, 5000) + b"c")
    whole = save(tmp_path / "a.pcapng", shb() + idb() + tail + epb(udp(), AT))
    done = nettop("read", whole, "-w", tmp_path / "b.pcapng")
    assert done.returncode == 3 and "left out: options that reach past their block" in done.stderr
    assert len(tshark(tmp_path / "b.pcapng", "frame.number")) == 2
