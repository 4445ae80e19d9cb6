"""The commands that `y` copies from a rule work as they are: they show, insert, reset and delete exactly that rule."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from queue import SimpleQueue

import pytest

from nettop.broker.client import Broker
from nettop.model.table import CopyDetail, Detail, Snapshot, ViewSpec
from nettop.session.live import LiveSession
from tests.kernel.namespaces import Lab, poll, run_in

pytestmark = pytest.mark.kernel

SAVED = """*filter
:INPUT ACCEPT [0:0]
-A INPUT -p udp -m udp --dport 1 -j ACCEPT
-A INPUT -p udp -m udp --dport 2 -m comment --comment "it's $(touch evil) `touch evil` \\"quoted\\"" -j ACCEPT
-A INPUT -p udp -m udp --dport 3 -j ACCEPT
COMMIT
"""
LISTED = """table inet t { chain c { type filter hook input priority 0;
  udp dport 1 counter accept
  udp dport { 2, 5-9 } counter packets 7 bytes 99 accept comment "it's $(touch evil) `touch evil`"
  udp dport 3 counter accept
}; }
"""


def copies_of(session: LiveSession, port: str) -> dict[str, str]:
    """Titles and texts of the rule of this port."""
    columns = session.views["rules"].default_columns
    found: list[dict[str, str]] = []

    def look() -> bool:
        rows: SimpleQueue[Snapshot] = SimpleQueue()
        session.ask("rules", ViewSpec(columns, height=100), rows.put)
        for row in rows.get(timeout=30).rows:
            if re.search(rf"dport ({{ )?{port}\b", row.whole):
                details: SimpleQueue[Detail | None] = SimpleQueue()
                session.detail("rules", row.ident, details.put)
                detail = details.get(timeout=30)
                assert isinstance(detail, CopyDetail)
                found.append(dict(detail.copies))
        return bool(found)

    poll(look, what="the rule with its words")
    return found[-1]


def shell(command: str, folder: Path) -> str:
    """Run a copied line as a person would."""
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def ports(ns: str, tool: str) -> list[str]:
    listing = run_in(ns, "nft", "list", "ruleset") if tool == "nft" else run_in(ns, tool, "-S", "INPUT")
    return re.findall(r"dport (?:{ )?(\d)", listing)


@pytest.mark.parametrize("tool", ["nft", "iptables-nft"])
def test_a_copied_command_does_what_its_title_says(broker: Broker, lab: Lab, tmp_path: Path, tool: str) -> None:
    ns = lab.netns("c")
    rules = LISTED if tool == "nft" else SAVED
    run_in(ns, *(("nft", "-f", "-") if tool == "nft" else (f"{tool}-restore",)), stdin=rules)
    session = LiveSession(broker, ns)
    try:
        copies = copies_of(session, "2")
        assert "dport" in shell(copies["The command that shows its chain"], tmp_path)
        reset = next(text for title, text in copies.items() if title.startswith("Reset"))
        shell(copies["Insert one like it before it"], tmp_path)
        assert ports(ns, tool) == ["1", "2", "2", "3"]
        shell(reset, tmp_path)
        assert ports(ns, tool) == ["1", "2", "2", "3"]
        if tool == "nft":
            assert "packets 7" not in run_in(ns, "nft", "list", "ruleset")
        shell(copies_of(session, "3")["Delete it"] if tool == "nft" else copies["Delete it"], tmp_path)
        assert ports(ns, tool) == (["1", "2", "2"] if tool == "nft" else ["1", "2", "3"])
        assert not (tmp_path / "evil").exists(), "nothing in a comment is run by the shell"
    finally:
        session.close()
