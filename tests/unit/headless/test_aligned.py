"""On a terminal flows, groups and counters are tables with a header; a pipe gets the lines that it always got."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from nettop.headless.aligned import aligned
from nettop.model.table import Column, Row
from nettop.text.width import cells_of

DEMO = str(Path(__file__).parents[3] / "captures/demo-gw-a.pcapng")
COLUMNS = (
    Column("name", "NAME", 4),
    Column("value", "VALUE", 4, right=True),
    Column("zone", "ZONE", 4, right=True, rank=9),
    Column("text", "TEXT", 4, rank=1),
)


def rows(*cells: tuple[str, ...]) -> list[Row]:
    return [Row(at, found, ()) for at, found in enumerate(cells)]


def test_columns_are_as_wide_as_their_texts_and_numbers_end_together() -> None:
    found = list(aligned(COLUMNS, rows(("漢字", "1", "7", "x"), ("a", "1,000", "0", "yy")), 80))
    assert found == ["NAME  VALUE  ZONE  TEXT", "漢字      1     7  x", "a     1,000     0  yy"]
    assert cells_of("漢字") == 4


def test_a_column_without_values_is_left_out_and_the_last_is_cut() -> None:
    found = list(aligned(COLUMNS, rows(("a", "1", "0", "x" * 90), ("b", "2", "", "y")), 40, ("zone",)))
    assert found[0] == "NAME  VALUE  TEXT" and all(len(line) <= 40 for line in found) and found[1].endswith("x…")


def test_narrow_terminals_lose_the_columns_of_the_highest_rank() -> None:
    found = list(aligned(COLUMNS, rows(("a" * 20, "1", "7", "x" * 90)), 30))
    assert found[0].split() == ["NAME", "VALUE"]


def test_no_row_has_no_header() -> None:
    assert list(aligned(COLUMNS, [], 80)) == []


def on_terminal(*arguments: str, width: int = 160) -> list[str]:
    """What the command prints on a terminal of this width."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "nettop", *arguments, "-r", DEMO]
    child = subprocess.Popen(
        command, stdout=theirs, stderr=subprocess.DEVNULL, env=os.environ | {"COLUMNS": str(width)}, close_fds=True
    )
    os.close(theirs)
    found = b""
    try:
        while part := os.read(ours, 1 << 16):
            found += part
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(ours)
    assert child.wait(30) == 0
    return found.decode().replace("\r", "").splitlines()


@pytest.mark.parametrize("width", [80, 120, 160, 200])
@pytest.mark.parametrize(
    ("arguments", "titles"),
    [
        (("flows",), ("PROTO", "ORIGINAL")),
        (("flows", "--group", "source"), ("SOURCE", "FLOWS", "RATE")),
        (("counters",), ("GROUP", "NAME", "VALUE", "BYTES")),
    ],
)
def test_a_terminal_gets_a_table_that_fits(arguments: tuple[str, ...], titles: tuple[str, ...], width: int) -> None:
    table = on_terminal(*arguments, width=width)
    assert set(titles) <= set(table[0].split())
    assert max(map(len, table)) <= max(width, 110)  # counters never lose their values


def test_the_table_of_flows_has_state_nat_timeout_and_flags() -> None:
    table = on_terminal("flows", width=200)
    assert table[0].split()[:8] == ["PROTO", "STATE", "ORIGINAL", "NAT", "↑BYTES", "↓BYTES", "TIMEOUT", "FLAGS"]
    assert any("ASSURED EXPECTED" in line for line in table)
    at = table[0].index("NAT")
    assert all(line[at:].startswith(("SNAT 100.100.100.1", " ")) for line in table[1:]), "no column is out of line"


def test_a_pipe_gets_lines_without_a_header_and_counters_say_their_bytes() -> None:
    def piped(*arguments: str) -> list[str]:
        done = subprocess.run([sys.executable, "-m", "nettop", *arguments, "-r", DEMO], capture_output=True, text=True)
        return done.stdout.splitlines()

    assert piped("flows")[0].startswith(("tcp ", "udp ", "icmp")) and "timeout" in piped("flows")[0]
    assert any(
        line.startswith("gw-a nft-counter inet account web ") and " bytes, " in line for line in piped("counters")
    )
