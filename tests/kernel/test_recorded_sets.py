"""Sets, maps and IP sets in a recording: their elements open below a rule, and `nettop rules -r` prints them."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import pytest

from nettop.model.table import ViewSpec
from nettop.session.replay import ReplaySession
from tests.kernel.commands import nettop, rows
from tests.kernel.namespaces import Lab, run_in
from tests.kernel.test_opened_sets import RULES, answer, opened, rule_with
from tests.kernel.test_set_members import MAKE_IPSETS, held

TABLES = ViewSpec(("table",), height=99)
pytestmark = pytest.mark.kernel


@pytest.fixture
def recording(lab: Lab, tmp_path: Path) -> str:
    ns, path = lab.netns("recorded"), str(tmp_path / "sets.pcapng")
    run_in(ns, "nft", "-f", "-", stdin=RULES)
    run_in(ns, sys.executable, "-c", MAKE_IPSETS)
    run_in(ns, "iptables-nft", "-A", "INPUT", "-m", "set", "--match-set", "badnets", "src", "-j", "DROP")
    done = nettop("record", "-w", path, "--netns", ns, "--duration", "3")
    assert done.returncode == 0, done.stderr
    return path


def test_elements_of_a_recording_open_below_their_rules(recording: str) -> None:
    with closing(ReplaySession(recording)) as session:
        session.start()
        title, five, seven = opened(session, rule_with(session, "@bad counter drop"))
        assert title.cells[0].startswith("▾ @bad   set of ipv4_addr   2 elements")
        assert (five.cells[1:3], five.cells[4].strip()) == (("3", "300"), "10.0.0.5")
        assert seven.cells[4].endswith("/* seven */")
        (scope,) = (row.ident for row in answer(session.ask, "chains", TABLES).rows if row.cells[0] == "filter")
        title, *found = opened(session, rule_with(session, "badnets", "filter"), scope)
        assert title.cells[0].startswith("▾ ipset badnets   set of hash:net   2 elements")
        assert {row.cells[4].split()[0] for row in found} == {"10.0.0.0/8", "192.168.1.1"}
        hits, unsearched = answer(session.find_rules, "10.0.0.5")
        assert (len(hits), list(unsearched)) == (2, [])


def test_rules_of_a_recording_have_the_elements_that_are_asked_for(recording: str) -> None:
    found = held(rows("rules", "-r", recording, "--elements"))
    assert sorted(found["bad"]) == ["10.0.0.5", "10.0.0.7"] and sorted(found["ways"]) == ["22", "443", "80"]
    assert sorted(found["badnets"]) == ["10.0.0.0/8", "192.168.1.1"] and found["socks"] == ["10.0.0.5,tcp:80"]
    assert {name: len(of) for name, of in held(rows("rules", "-r", recording, "--elements", "-n", "1")).items()} == {
        name: min(1, len(of)) for name, of in found.items()
    }
    assert not any(held(rows("rules", "-r", recording)).values())
