"""start: how long `nettop --version` takes, beside the bare interpreter."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial

from tests.bench.measure import NETTOP, interleaved, run, walls
from tests.bench.report import Line, line
from tests.bench.world import World


def start(world: World) -> Iterator[Line]:
    """`--version`; the floor is an interpreter that does nothing."""
    rounds = world.size(7, 1)
    version, help_, floor = interleaved(
        rounds,
        partial(run, [NETTOP, "--version"]),
        partial(run, [NETTOP, "--help"]),
        partial(run, [sys.executable, "-c", ""]),
    )
    yield line("start", "nettop --version", walls(version), floor=walls(floor), most=0.15, note=f"median of {rounds}")
    yield line("start", "  nettop --help", walls(help_), floor=walls(floor))
