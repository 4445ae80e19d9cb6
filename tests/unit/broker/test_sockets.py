"""What a packet socket may ask for."""

from __future__ import annotations

from nettop.broker.sockets import spare_memory


def test_rings_leave_an_eighth_of_the_memory_alone() -> None:
    meminfo = [
        "MemTotal:       8192000 kB\n",
        "MemFree:          100 kB\n",
        "MemAvailable:   2048000 kB\n",
        "HugePages_Total: 0\n",
    ]
    assert spare_memory(meminfo) == 1_024_000 << 10
    assert spare_memory(["MemTotal: 8192000 kB", "MemAvailable: 1 kB"]) < 0
