"""Every row of the benchmark runs, small, and reports figures. What they are is for `./dev bench` to say."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.bench.__main__ import ROWS
from tests.bench.measure import ROOT
from tests.bench.report import Peer, line, table
from tests.kernel.rights import is_host_root

DEADLINE_S = 400  # it takes 15 s on two idle cores


def _quick() -> tuple[int, list[dict[str, Any]]]:
    """The process number and the rows of a run."""
    argv = [sys.executable, "-m", "tests.bench", "--quick", "--json"]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            out, err = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
    assert process.returncode in (0, 1), err
    return process.pid, [json.loads(text) for text in out.splitlines()]


@pytest.mark.kernel
def test_every_row_runs_and_reports_and_leaves_nothing_behind() -> None:
    pid, lines = _quick()
    assert {one["row"] for one in lines} == set(ROWS)
    failed = [f"{one['row']}: {one['note']}" for one in lines if one["what"] == "not measured"]
    assert not failed, "\n".join(failed)
    assert all(one["ours"] >= 0 for one in lines)
    lost = [one["ours"] for one in lines if "lost" in one["what"]]
    assert len(lost) == 5
    assert not any(lost) or not is_host_root(), "in a user namespace receive buffers are small"
    names = subprocess.check_output(["ip", "netns", "list"], text=True).split()
    assert not [name for name in names if name.startswith(f"nt-{pid}-")]


def test_a_budget_holds_up_to_its_amount_and_its_ratio() -> None:
    assert line("r", "w", 2.0, peer=Peer("p", 4.0), most=2, most_ratio=0.5).holds is True
    assert line("r", "w", 2.0, peer=Peer("p", 3.9), most_ratio=0.5).holds is False
    assert line("r", "w", 2.1, most=2).holds is False
    assert line("r", "w", 2.1, peer=Peer("p", None), most_ratio=9).holds is False
    assert line("r", "w", 2.0).holds is None


def test_the_table_is_aligned_and_says_what_falls_short() -> None:
    texts = table(
        [line("one", "a", 0.5, peer=Peer("tool", 1.0), most_ratio=0.9), line("two", "long", 30.0, "MB", most=20)]
    )
    assert [text.index("budget") for text in texts[:1]] == [text.index("≤") for text in texts[1:2]]
    assert "0.50×" in texts[1] and "yes" in texts[1]
    assert "30 MB" in texts[2] and texts[2].endswith("NO")
