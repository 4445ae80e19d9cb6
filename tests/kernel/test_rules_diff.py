"""`nettop rules --diff`: what was added, removed, changed and moved between two moments, recorded or live."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.commands import holds, nettop, running
from tests.kernel.namespaces import Lab, poll, run_in

pytestmark = pytest.mark.kernel

RULES = """
table inet fw {
    chain old { counter }
    chain user { tcp dport 1 accept comment "one"
        tcp dport 2 accept
        tcp dport 3 accept
        tcp dport 4 accept
        tcp dport 5 accept
    }
    chain forw { type filter hook forward priority 0; policy drop
        jump user
    }
}
""".replace("{ counter }", "{ counter\n }")
CHANGES = """
chain inet fw forw { policy accept; }
replace rule inet fw user handle {two} tcp dport 22 accept
delete rule inet fw user handle {one}
delete rule inet fw user handle {three}
add rule inet fw user tcp dport 3 accept
delete chain inet fw old
add chain inet fw fresh
add rule inet fw fresh counter drop comment "say \\x1b[31m"
"""


def differences(*argv: str) -> list[dict[str, Any]]:
    done = nettop("rules", "--json", "--diff", *argv)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def is_all_of(path: Path, ns: str) -> bool:
    """Whether the recording so far ends with the rules of the namespace, in all their words."""
    recorded = nettop("rules", "-r", str(path))
    compared = nettop("rules", "--diff", str(path), "--netns", ns)
    return (recorded.returncode, recorded.stderr, compared.stdout) == (0, "", "")


def changed(ns: str) -> None:
    listed = run_in(ns, "nft", "-a", "list", "chain", "inet", "fw", "user")
    handles = [line.rpartition(" ")[2] for line in listed.splitlines() if "dport" in line]
    script = CHANGES
    for word, handle in zip(("one", "two", "three"), handles, strict=False):
        script = script.replace(f"{{{word}}}", handle)
    run_in(ns, "nft", "-f", "-", stdin=script)
    for tool in ("iptables-nft", "iptables-legacy"):
        run_in(ns, tool, "-P", "INPUT", "DROP")
        run_in(ns, tool, "-I", "INPUT", "-p", "udp", "-j", "ACCEPT")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A recording of a namespace that changes in it, and the namespace as it is afterwards."""
    lab, path = Lab(), tmp_path_factory.mktemp("diff") / "change.pcapng"
    try:
        ns = lab.netns("diff")
        run_in(ns, "nft", "-f", "-", stdin=RULES)
        for tool in ("iptables-nft", "iptables-legacy"):
            run_in(ns, tool, "-A", "INPUT", "-p", "tcp", "-j", "ACCEPT")
        with running("record", "-w", str(path), "--netns", ns) as record:
            poll(lambda: is_all_of(path, ns), what="the first keyframe")
            changed(ns)
            poll(lambda: is_all_of(path, ns), 120.0, "the changed rules and their words")
            record.signal()
            assert record.end()[0] == 0
        yield ns, path
    finally:
        lab.close()


def expected(rows: list[dict[str, Any]]) -> None:
    found = {(r["chain"], r["what"], r["change"], r.get("before"), r.get("after")) for r in rows if r["table"] == "fw"}
    assert found == {
        ("forw", "policy", "changed", "drop", "accept"),
        ("user", "rule", "removed", 'tcp dport 1 accept comment "one"', None),
        ("user", "rule", "changed", "tcp dport 2 accept", "tcp dport 22 accept"),
        ("user", "rule", "moved", "tcp dport 3 accept", "tcp dport 3 accept"),
        ("old", "chain", "removed", None, None),
        ("old", "rule", "removed", "counter", None),
        ("fresh", "chain", "added", None, None),
        ("fresh", "rule", "added", None, 'counter drop comment "say \\x1b[31m"'),
    }
    moved = next(row for row in rows if row["change"] == "moved")
    assert (moved["number_before"], moved["number_after"]) == (3, 4)
    for backend in ("iptables-nft", "iptables-legacy"):
        assert {(r["what"], r["change"], r["after"]) for r in rows if r["backend"] == backend} == {
            ("policy", "changed", "drop"),
            ("rule", "added", "-p udp -j ACCEPT"),
        }


def test_the_start_and_the_end_of_a_recording(recording: tuple[str, Path]) -> None:
    expected(differences(f"{recording[1]}@start", str(recording[1])))


def test_the_table_of_a_trace_is_no_difference_and_lacks_no_words(lab: Lab, tmp_path: Path) -> None:
    ns, path = lab.netns("traced"), tmp_path / "traced.pcapng"
    run_in(ns, "nft", "add table inet fw; add chain inet fw in { type filter hook input priority 0; }")
    with running("record", "-w", str(path), "--netns", ns) as record:
        poll(lambda: holds(path, b"chain in"), what="the first keyframe")
        with running("trace", "icmp", "--netns", ns) as trace:
            table = re.search(rb"nettop-[0-9a-f-]+", trace.line(errors=True))
            assert table is not None
            poll(lambda: holds(path, table[0]), what="the table of the trace")
            record.signal()
            assert record.end()[0] == 0
    assert differences(str(path), "--netns", ns) == []
    done = nettop("rules", "-r", str(path))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_recording_and_the_live_namespace(recording: tuple[str, Path]) -> None:
    ns, path = recording
    expected(differences(f"{path}@start", "--netns", ns))
    assert differences(str(path), "--netns", ns) == []
    assert differences(f"{path}@start", "--netns", ns, "--table", "filter", "--chain", "FORWARD") == []


def test_the_text_is_a_unified_diff_of_each_chain(recording: tuple[str, Path]) -> None:
    path = recording[1]
    done = nettop("rules", "--diff", f"{path}@start", str(path), "--table", "fw")
    assert (done.returncode, done.stderr) == (0, "") and "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    at = lines.index(f"--- {path}@start: inet fw forw (nft)")
    assert lines[at + 1].startswith(f"+++ {path}: inet fw forw") and lines[at + 2].startswith("@@ -1,")
    assert {"-policy drop;", "+policy accept;", "-tcp dport 2 accept", "+tcp dport 22 accept"} <= set(lines)
    assert "+++ /dev/null" in lines and "--- /dev/null" in lines
    same = nettop("rules", "--diff", str(path), str(path))
    assert (same.returncode, same.stdout, same.stderr) == (0, "", "")


def test_what_cannot_be_compared_is_refused_in_one_line(recording: tuple[str, Path], tmp_path: Path) -> None:
    path, plain = recording[1], tmp_path / "plain.pcap"
    captured = Path(__file__).parents[2] / "captures" / "icmp-errors.pcapng"
    assert nettop("read", str(captured), "-w", str(plain)).returncode == 0
    for argv, code in (
        ([str(path), str(plain)], 1),
        ([str(tmp_path / "absent"), str(path)], 1),
        ([str(path)] * 3, 2),
        ([str(path), str(path), "--chain", "nope"], 2),
    ):
        done = nettop("rules", "--diff", *argv)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), argv


CONTENTS = """
table inet c {
    set bad { type ipv4_addr; elements = { 10.0.0.1, 10.0.0.2 }; }
    set seen { type ipv4_addr; flags dynamic; size 99; elements = { 10.9.0.1 }; }
    map ways { type inet_service : verdict; elements = { 22 : accept, 80 : drop }; }
    quota upload { over 10 mbytes }
    chain in { type filter hook input priority 0; ip saddr @bad drop; tcp dport vmap @ways; quota name "upload"; }
}
"""
CONTENTS_CHANGED = """
delete element inet c bad { 10.0.0.1 }
add element inet c bad { 10.0.0.3 comment "three" }
add element inet c seen { 10.9.0.2 }
delete element inet c ways { 22 }
add element inet c ways { 22 : drop }
add set inet c empty { type mark; size 7; }
add table ip asleep { flags dormant; }
"""
DIFFERENT_CONTENTS = {
    ("table", "asleep", None, "added", None, "flags dormant"),
    ("set", "empty", None, "added", None, "type mark size 7"),
    ("element", "bad", "10.0.0.1", "removed", "", None),
    ("element", "bad", "10.0.0.3", "added", None, "comment three"),
    ("element", "ways", "22", "changed", "value accept", "value drop"),
}


def test_sets_their_elements_and_tables_are_compared(lab: Lab, tmp_path: Path) -> None:
    ns, path = lab.netns("contents"), tmp_path / "contents.pcapng"
    run_in(ns, "nft", "-f", "-", stdin=CONTENTS)
    done = nettop("record", "-w", str(path), "--netns", ns, "--duration", "3")
    assert done.returncode == 0, done.stderr
    assert differences(str(path), "--netns", ns) == differences(f"{path}@start", str(path)) == []
    run_in(ns, "nft", "-f", "-", stdin=CONTENTS_CHANGED)
    keys = "what", "name", "element", "change", "before", "after"
    found = differences(str(path), "--netns", ns)
    assert {tuple(row[key] for key in keys) for row in found} == DIFFERENT_CONTENTS
    text = nettop("rules", "--diff", str(path), "--netns", ns).stdout.splitlines()
    assert {"-element ways 22 value accept", "+element ways 22 value drop", "+set empty type mark size 7"} <= set(text)


def test_the_same_rules_loaded_again_are_no_difference_whatever_their_implicit_chains_are_called(
    lab: Lab, tmp_path: Path
) -> None:
    ns, path = lab.netns("again"), tmp_path / "again.pcapng"
    rule = "add rule ip t c jump { ip ttl 1 drop; counter accept; }"
    script = f"flush ruleset; add table ip t; add chain ip t c; {rule}"
    run_in(ns, "nft", script)
    done = nettop("record", "-w", str(path), "--netns", ns, "--duration", "3")
    assert done.returncode == 0, done.stderr
    run_in(ns, "nft", script)
    assert differences(str(path), "--netns", ns) == []
    run_in(ns, "nft", script.replace("ttl 1", "ttl 2"))
    assert {row["chain"] for row in differences(str(path), "--netns", ns)} == {"c"}
