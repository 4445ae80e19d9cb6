"""The log of changes of the rules: what nft and iptables did, in their words, and that they did it."""

from __future__ import annotations

import re
from collections.abc import Callable
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
    (("nft", "add", "rule", "inet", "fw", "lan", "udp", "dport", "53", "drop"), {"+ inet fw lan 2  udp dport 53 drop"}),
    (("nft", "flush", "chain", "inet", "fw", "lan"), {
        "- inet fw lan 1  ip saddr 10.0.0.0/8 counter accept", "- inet fw lan 2  udp dport 53 drop",
    }),
    (("nft", "chain", "inet", "fw", "in", "{ policy drop; }"), {
        "~ inet fw in  chain hook input priority 0 policy accept → hook input priority 0 policy drop",
    }),
    (("iptables-nft", "-A", "INPUT", "-p", "tcp", "--dport", "80", "-j", "ACCEPT"), {
        "+ ip filter INPUT  chain hook input priority 0 policy accept",
        "+ ip filter INPUT 1  -p tcp -m tcp --dport 80 -j ACCEPT",
    }),
    (("nft", "delete", "table", "inet", "fw"), {
        "- inet fw in  chain", "- inet fw in 1  tcp dport 22 accept", "- inet fw in 2  jump lan",
        "- inet fw lan  chain",
    }),
)  # fmt: skip


def answer(ask: Callable[..., None], *arguments: object) -> list[Any]:
    answers: SimpleQueue[list[Any]] = SimpleQueue()
    ask(*arguments, answers.put)
    return answers.get(timeout=30)


def commits(session: LiveSession) -> list[Commit]:
    return answer(session.rule_changes)


def test_each_change_is_told_with_its_words_and_its_program(broker: Broker, lab: Lab) -> None:
    ns = lab.netns("a")
    run_in(ns, "nft", "-f", "-", stdin=RULES)
    session = LiveSession(broker, ns)
    try:
        is_whole = lambda put: session._run.on_models(lambda engine, now_ns: put([engine.ruleset.is_whole]))  # noqa: E731
        poll(lambda: answer(is_whole)[0], what="the rules are read")
        for count, (command, wanted) in enumerate(STEPS, 1):
            run_in(ns, *command)
            poll(lambda count=count: len(commits(session)) >= count, what=" ".join(command))  # type: ignore[misc]
            last = commits(session)[-1]
            assert {f"{one.sign} {one.where}  {one.text}" for one in last.changes} == wanted
            assert re.fullmatch(r"(x?nft|iptables-nft|xtables-nft-mul) \(\d+\)", last.by), last.by
        assert len(commits(session)) == len(STEPS)
    finally:
        session.close()
