"""open-1m and read-1m: a file of a million packets in the app's models, on its screen, and as text."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median

from tests.bench import child
from tests.bench.measure import NETTOP, interleaved, note_memory, run, walls
from tests.bench.report import Line, Peer, line
from tests.bench.terminal import Terminal, nettop_on
from tests.bench.world import World

PACKETS = 1_000_000
FILTER = "udp and port 123"
_FIRST_ROW = b"10.0.0."


def open_1m(world: World) -> Iterator[Line]:
    """First screen, End, a filter over everything, and memory: in the session, then in the app on a pty."""
    packets = world.size(PACKETS, 20_000)
    path = world.capture_file(packets)
    found = [child.answer(child.command("opener", str(path), FILTER)) for _ in range(world.rounds)]

    def middle(name: str) -> float:
        return float(median(one[name] for one in found))

    if any(one["packets"] != packets for one in found):
        raise RuntimeError(f"{found} instead of {packets} packets")
    size = path.stat().st_size / 1e6
    note = "termshark is not measured here (DESIGN: 29 s, 1.2 GB)"
    yield line("open-1m", f"{packets:,} packets, {size:.0f} MB: first screen", middle("first"), most=0.5, note=note)
    yield line(
        "open-1m", "  the whole file read", middle("whole"), floor=_bare_read(path), note="floor: its bytes read"
    )
    yield line("open-1m", "  End", middle("end"), most=0.5)
    yield line("open-1m", f"  filter all: {FILTER}", middle("filter"), most=1)
    yield line("open-1m", "  memory", middle("rss"), "MB", most=200, note="the session, without a screen")
    screen, rss = _on_screen(path, world.seconds(2, 0.2))
    yield line("open-1m", "  exec to the first packet on the screen", screen, note=f"{rss:.0f} MB with the screen")


def _bare_read(path: Path) -> float:
    began = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        buffer = bytearray(1 << 20)
        while file.readinto(buffer):
            pass
    return time.perf_counter() - began


def _on_screen(path: Path, seconds: float) -> tuple[float, float]:
    with nettop_on(Terminal(), "-r", str(path)) as app:
        app.until(b"Flows")
        app.type(b"4")
        shown = app.until(_FIRST_ROW) - app.began
        app.look(seconds)
        assert app.process is not None
        highest: dict[int, int] = {}
        note_memory(app.process.pid, highest)
        return shown, sum(highest.values()) / 1e6


def read_1m(world: World) -> Iterator[Line]:
    """All as text beside tcpdump; one packet in a hundred beside tshark and tcpdump."""
    path = str(world.capture_file(world.size(PACKETS, 20_000)))
    out = world.scratch / "text"

    def printed(argv: list[str]) -> float:
        with out.open("wb") as file:
            return run(argv, stdout=file).wall

    ours, tcpdump = interleaved(
        world.rounds, partial(printed, [NETTOP, "read", path]), partial(printed, ["tcpdump", "-nn", "-r", path])
    )
    yield line("read-1m", "all as text", median(ours), peer=Peer("tcpdump -nn -r", median(tcpdump)), most_ratio=0.7)
    ours_some, tshark, tcpdump_some = interleaved(
        world.rounds,
        partial(run, [NETTOP, "read", path, "--filter", FILTER]),
        partial(run, ["tshark", "-n", "-r", path, "-Y", "udp.port==123"]),
        partial(run, ["tcpdump", "-nn", "-r", path, *FILTER.split()]),
    )
    took = walls(ours_some)
    yield line("read-1m", f"  only {FILTER}", took, peer=Peer("tshark -Y", walls(tshark)), most_ratio=0.15)
    yield line("read-1m", "  the same", took, peer=Peer("tcpdump -nn -r", walls(tcpdump_some)))
