"""The commands that `y` copies from a rule work as they are: they show, insert, reset and delete exactly that rule."""

from __future__ import annotations

import json
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
    return copies_of_rule(session, rf"dport ({{ )?{port}\b")


def copies_of_rule(session: LiveSession, pattern: str) -> dict[str, str]:
    columns = session.views["rules"].default_columns
    found: list[dict[str, str]] = []

    def look() -> bool:
        rows: SimpleQueue[Snapshot] = SimpleQueue()
        session.ask("rules", ViewSpec(columns, height=100), rows.put)
        for row in rows.get(timeout=30).rows:
            if re.search(pattern, row.whole) and "no words" not in row.whole:
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


ODD = ("log", "it's", "a b", "$(touch evil)")  # a keyword of nft, and names that it does not read


def json_rules(*names: str) -> str:
    """An nft script in JSON: a table with one chain of each name and a rule in it, and one that jumps to it."""
    table = {"family": "ip", "table": "t"}
    tcp = [{"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "tcp"}}, {"counter": None}]
    listed = [{"table": {"family": "ip", "name": "t"}}, {"chain": {**table, "name": "plain"}}]
    for name in names:
        rules = [{"rule": {**table, "chain": name, "expr": [*tcp, {"accept": None}]}}]
        rules.append({"rule": {**table, "chain": "plain", "expr": [*tcp, {"jump": {"target": name}}]}})
        listed += [{"chain": {**table, "name": name}}, *rules]
    return json.dumps({"nftables": [{"add": one} for one in listed]})


@pytest.mark.parametrize("name", ODD)
def test_a_rule_is_deleted_whatever_its_chain_is_called_and_no_command_is_offered_that_fails(
    broker: Broker, lab: Lab, tmp_path: Path, name: str
) -> None:
    ns = lab.netns("odd")
    run_in(ns, "nft", "-j", "-f", "-", stdin=json_rules(name))
    session = LiveSession(broker, ns)
    try:
        for pattern, left in ((r"tcp counter accept", 1), (r"tcp counter jump", 0)):
            copies = copies_of_rule(session, pattern)
            assert not any(title.startswith(("Insert", "Reset")) for title in copies)
            assert "meta l4proto tcp" in shell(copies["The command that shows its chain"], tmp_path)
            shell(copies["Delete it"], tmp_path)
            assert run_in(ns, "nft", "list", "ruleset").count("l4proto") == left
        assert not (tmp_path / "evil").exists()
    finally:
        session.close()


def test_rules_of_implicit_chains_are_only_shown_and_the_one_that_jumps_there_is_deleted(
    broker: Broker, lab: Lab, tmp_path: Path
) -> None:
    ns = lab.netns("implicit")
    script = "udp dport 7 counter jump { ip ttl 9 drop; ip ttl 8 counter accept; }"
    run_in(ns, "nft", f"add table ip t; add chain ip t c; add rule ip t c {script}")
    session = LiveSession(broker, ns)
    try:
        inner = copies_of_rule(session, "^ip ttl 9 drop")
        assert [*inner] == ["The rule", "The command that shows its chain"]
        assert "ttl 9" in shell(inner["The command that shows its chain"], tmp_path)
        outer = copies_of_rule(session, "^udp dport 7")
        assert [*outer] == ["The rule", "The command that shows its chain", "Delete it"]
        assert outer["The rule"] == script
        shell(outer["Delete it"], tmp_path)
        assert "ttl" not in run_in(ns, "nft", "list", "ruleset")
    finally:
        session.close()


def test_a_chain_whose_name_is_not_utf_8_is_not_taken_for_another_one(broker: Broker, lab: Lab) -> None:
    ns = lab.netns("bytes")
    run_in(ns, "iptables-nft", "-N", "a\udcff")
    run_in(ns, "iptables-nft", "-A", "a\udcff", "-p", "udp", "--dport", "7", "-j", "DROP")
    session = LiveSession(broker, ns)
    try:
        assert [*copies_of(session, "7")] == ["The rule"]
    finally:
        session.close()


@pytest.mark.parametrize("tool", ["nft", "iptables-nft"])
def test_a_rule_whose_comment_a_terminal_cannot_hold_is_not_inserted_with_another_one(
    broker: Broker, lab: Lab, tool: str
) -> None:
    ns = lab.netns("comment")
    if tool == "nft":
        run_in(ns, tool, 'add table ip t; add chain ip t c; add rule ip t c udp dport 7 counter comment "\x1b[31m"')
    else:
        run_in(ns, tool, "-A", "INPUT", "-p", "udp", "--dport", "7", "-m", "comment", "--comment", "\u202e")
    session = LiveSession(broker, ns)
    try:
        titles = [*copies_of(session, "7")]
        assert "Delete it" in titles and "Insert one like it before it" not in titles
        assert any(title.startswith("Reset") for title in titles) is (tool != "nft")
    finally:
        session.close()


def test_only_a_rule_that_counts_is_reset_and_words_that_nft_takes_for_one_are_divided(
    broker: Broker, lab: Lab, tmp_path: Path
) -> None:
    ns = lab.netns("reset")
    run_in(ns, "nft", "add table ip t; add chain ip t c; add rule ip t c ip ttl 9 accept")
    run_in(ns, "nft", "add rule ip t c ip ttl 8 counter packets 5 bytes 60 meta priority set 1:2")
    session = LiveSession(broker, ns)
    try:
        assert not any(title.startswith("Reset") for title in copies_of_rule(session, "ttl 9"))
        copies = copies_of_rule(session, "ttl 8")
        shell(next(text for title, text in copies.items() if title.startswith("Reset")), tmp_path)
        assert re.findall(r"packets (\d+)", run_in(ns, "nft", "list", "ruleset")) == ["0"]
    finally:
        session.close()


def test_a_quote_in_a_word_of_iptables_begins_no_quoted_text(broker: Broker, lab: Lab, tmp_path: Path) -> None:
    ns = lab.netns("quote")
    run_in(ns, "iptables-nft", "-A", "INPUT", "-m", "recent", "--name", 'r"x', "--set", "-j", "DROP")
    session = LiveSession(broker, ns)
    try:
        shell(copies_of_rule(session, "recent")["Insert one like it before it"], tmp_path)
        lines = [line for line in run_in(ns, "iptables-nft", "-S").splitlines() if line.startswith("-A")]
        assert len(lines) == 2 and len(set(lines)) == 1, lines
    finally:
        session.close()
