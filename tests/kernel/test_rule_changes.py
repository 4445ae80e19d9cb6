"""The log of changes of the rules: what nft and iptables did, in their words, and that they did it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from nettop.broker.client import Broker
from nettop.model.ruleset.changes import Commit
from nettop.session.live import LiveSession
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
            poll(lambda count=count: len(commits(session)) >= count, WORDS_S, " ".join(command))  # type: ignore[misc]
            last = commits(session)[-1]
            assert {f"{one.sign} {one.where}  {one.text}" for one in last.changes} == wanted
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
