"""The log of changes of the rules: what nft and iptables did, in their words, and that they did it."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from nettop.broker.client import Broker
from nettop.kinds import TextKind
from nettop.model.ruleset.changes.log import Commit
from nettop.session.live import LiveSession
from tests.kernel.commits import commits as repeated_commits
from tests.kernel.namespaces import Lab, poll, run_in

pytestmark = pytest.mark.kernel

RULES = """table inet fw {
    chain in { type filter hook input priority 0; policy accept; tcp dport 22 accept; jump lan; }
    chain lan { ip saddr 10.0.0.0/8 counter accept; }
}"""
STEPS = (
    (("nft", "flush chain inet fw lan; add rule inet fw lan udp dport 53 drop; chain inet fw in { policy drop; }"), {
        "- inet fw lan 1  ip saddr 10.0.0.0/8 counter accept", "+ inet fw lan 1  udp dport 53 drop",
        "~ inet fw in  chain hook input priority 0 policy accept → hook input priority 0 policy drop",
    }),
    (("iptables-nft", "-A", "INPUT", "-p", "tcp", "--dport", "80", "-j", "ACCEPT"), {
        "+ ip filter INPUT  chain hook input priority 0 policy accept",
        "+ ip filter INPUT 1  -p tcp -m tcp --dport 80 -j ACCEPT",
    }),
    (("nft", "delete", "table", "inet", "fw"), {
        "- inet fw in  chain", "- inet fw in 1  tcp dport 22 accept", "- inet fw in 2  jump lan",
        "- inet fw lan  chain", "- inet fw lan 1  udp dport 53 drop",
    }),
)  # fmt: skip
# The words of a change that follows another one wait: reading them takes at most 2 % of a core.
WORDS_S = 120.0


def answer(ask: Callable[..., None], *arguments: object) -> list[Any]:
    answers: SimpleQueue[list[Any]] = SimpleQueue()
    ask(*arguments, answers.put)
    return answers.get(timeout=30)


def commits(session: LiveSession) -> list[Commit]:
    return answer(session.rule_changes)


def told(log: list[Commit]) -> set[str]:
    return {f"{one.sign} {one.where}  {one.text}" for commit in log for one in commit.changes}


def is_whole(session: LiveSession) -> bool:
    asked = lambda put: session._run.on_models(lambda engine, now_ns: put([engine.ruleset.is_whole]))  # noqa: E731
    return bool(answer(asked)[0])


def test_each_change_is_told_with_its_words_and_its_program(broker: Broker, lab: Lab) -> None:
    ns = lab.netns("a")
    run_in(ns, "nft", "-f", "-", stdin=RULES)
    session = LiveSession(broker, ns)
    try:
        poll(lambda: is_whole(session), what="the rules are read")
        for count, (command, wanted) in enumerate(STEPS, 1):
            run_in(ns, *command)
            done = lambda count=count, wanted=wanted: told(commits(session)[count - 1 :]) == wanted  # noqa: E731
            poll(done, WORDS_S, " ".join(command))
            last = commits(session)[-1]
            assert re.fullmatch(r"(nft|iptables-nft|xtables-nft-mul) \(\d+\)", last.by), last.by
        assert len(commits(session)) == len(STEPS)
    finally:
        session.close()


def test_what_nobody_reports_has_no_author_and_a_table_is_one_change(broker: Broker, lab: Lab, tmp_path: Path) -> None:
    ns = lab.netns("b")
    lock = f"XTABLES_LOCKFILE={tmp_path / 'lock'}"  # that of the host is not writable in a user namespace
    run_in(ns, "env", lock, "iptables-legacy", "-A", "INPUT", "-p", "icmp", "-j", "ACCEPT")
    run_in(ns, "nft", "-f", "-", stdin=RULES)
    session = LiveSession(broker, ns)
    try:
        poll(lambda: is_whole(session), what="the rules are read")
        run_in(ns, "env", lock, "iptables-legacy", "-A", "INPUT", "-p", "udp", "-j", "DROP")
        poll(lambda: len(commits(session)) == 1, WORDS_S, "the rule of iptables-legacy")
        (legacy,) = commits(session)
        assert [(one.sign, one.text) for one in legacy.changes] == [("+", "-p udp -j DROP")] and legacy.by == ""
        many = "".join(f"add rule inet big c tcp dport {port} accept\n" for port in range(1, 21))
        run_in(ns, "nft", "-f", "-", stdin=f"add table inet big\nadd chain inet big c\n{many}")
        poll(lambda: len(commits(session)) == 2, WORDS_S, "the table")
        (table,) = commits(session)[1].changes
        assert (table.sign, table.where, table.text) == ("+", "inet big", "table of 1 chain and 20 rules")
        assert commits(session)[1].by.startswith("nft (")
    finally:
        session.close()


def one_rule_less_and_one_more(number: int) -> str:
    return f"flush chain inet fw lan; add rule inet fw lan udp dport {number} accept"


def test_commits_without_a_pause_are_logged_as_they_come_and_words_come_again(broker: Broker, lab: Lab) -> None:
    ns = lab.netns("c")
    run_in(ns, "nft", "-f", "-", stdin=RULES)
    run_in(ns, "iptables-nft", "-A", "INPUT", "-p", "tcp", "--dport", "80", "-j", "ACCEPT")
    with closing(LiveSession(broker, ns)) as session:
        ruleset = lambda put: session._run.on_models(lambda engine, now_ns: put([engine.ruleset]))  # noqa: E731
        poll(lambda: is_whole(session), what="the rules are read")
        (found,) = answer(ruleset)
        with repeated_commits(ns, one_rule_less_and_one_more, 0.02):
            poll(lambda: len(commits(session)) >= 50, 10.0, "50 commits in the log")
            assert found.stale(), "the words are marked old"
            last = commits(session)[-1]
            assert last.by.startswith("nft (") and {one.sign for one in last.changes} <= {"+", "-"}
            assert any("[ immediate reg 0 accept ]" in one for one in told([last])), "its expressions, without words"
            for kind in (TextKind.NFT_RULESET, TextKind.IPTABLES_SAVE):
                before = found.texts.valid_ns[kind]
                poll(lambda kind=kind, before=before: found.texts.valid_ns[kind] > before, 15.0, kind.value)  # type: ignore[misc]
        last_rule = re.compile(r"\+ inet fw lan 1  udp dport \d+ accept")
        poll(lambda: any(map(last_rule.fullmatch, told(commits(session)[-1:]))), WORDS_S, "the words of the last rule")
        assert all(len(one.changes) <= 2 for one in commits(session)), "each commit by itself"
