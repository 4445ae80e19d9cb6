"""`python -m tests.bench [--quick] [--json] [ROW ...]`: runs the rows and prints the table. As root."""

from __future__ import annotations

import argparse
import compileall
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator

from tests.bench import measure
from tests.bench.report import Line, as_object, table
from tests.bench.row_events import events_100k
from tests.bench.row_file import open_1m, read_1m
from tests.bench.row_flows import dump_1m, sort_filter
from tests.bench.row_fresh import fresh
from tests.bench.row_keys import key_to_paint
from tests.bench.row_map import map_200
from tests.bench.row_polling import polling
from tests.bench.row_record import record_300k
from tests.bench.row_rules import rules_10k
from tests.bench.row_soak import soak
from tests.bench.row_start import start
from tests.bench.row_trace import trace_1k
from tests.bench.world import World, world

ROWS: dict[str, Callable[[World], Iterable[Line]]] = {
    "start": start,
    "record-300k": record_300k,
    "open-1m": open_1m,
    "read-1m": read_1m,
    "rules-10k": rules_10k,
    "trace-1k": trace_1k,
    "key-to-paint": key_to_paint,
    "fresh": fresh,
    "events-100k": events_100k,
    "polling": polling,
    "map-200": map_200,
    "soak": soak,
    "dump-1m": dump_1m,
    "sort-filter": sort_filter,
}


def main(argv: list[str]) -> int:
    """0 when every budget holds, 1 when one does not, 2 for a wrong command."""
    options = _options(argv)
    if os.geteuid() != 0:
        print("bench: needs root: namespaces, conntrack, captures", file=sys.stderr)
        return 2
    # As an installed package is: else every run compiles its modules anew where PYTHONDONTWRITEBYTECODE is set.
    compileall.compile_dir(measure.ROOT / "nettop", quiet=2)
    lines = list(_measured(options.rows or list(ROWS), options.quick, options.minutes))
    for text in (json.dumps(as_object(one)) for one in lines) if options.json else _text(lines):
        print(text)
    return 0 if all(one.holds is not False for one in lines) else 1


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"{' '.join(ROWS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: shows that the rows run")
    parser.add_argument("--minutes", type=float, default=0.0, metavar="M", help="how long soak runs (else one)")
    parser.add_argument("--json", action="store_true", help="JSON Lines instead of the table")
    options = parser.parse_args(argv)
    if unknown := [row for row in options.rows if row not in ROWS]:
        parser.error(f"no row {' '.join(unknown)}: there are {' '.join(ROWS)}")
    return options


def _measured(names: list[str], quick: bool, minutes: float = 0.0) -> Iterator[Line]:
    with world(quick) as ground:
        ground.soak_minutes = minutes
        for name in names:
            began = time.perf_counter()
            print(f"bench: {name} …", end=" ", file=sys.stderr, flush=True)
            try:
                yield from ROWS[name](ground)
            except Exception as error:  # the other rows still count
                why = f"{type(error).__name__}: {error}".splitlines()
                yield Line(name, "not measured", math.nan, "", holds=False, note=f"{why[0][:90]} … {why[-1][:90]}")
            load = os.getloadavg()[0]
            print(f"{time.perf_counter() - began:.1f} s (load {load:.1f})", file=sys.stderr, flush=True)


def _text(lines: list[Line]) -> Iterator[str]:
    yield f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    yield from table(lines)
    missed = [f"{one.row}: {one.what.strip()}" for one in lines if one.holds is False]
    yield f"{len(missed)} fall short: {'; '.join(missed)}" if missed else "every budget holds"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
