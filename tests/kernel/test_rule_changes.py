"""The log of changes of the rules: what nft and iptables did, in their words, and that they did it."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from nettop.broker.client import Broker
from nettop.broker.requests import Netns
from nettop.kinds import TextKind
from nettop.model.ruleset.changes.log import Commit
from nettop.model.ruleset.picture import RuleView
from nettop.model.ruleset.texts import RULESET_KINDS
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


def noted_texts(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> list[tuple[TextKind, str]]:
    """Return a list that grows with each text, or part of it, that the broker is asked for."""
    asked, ask = list[tuple[TextKind, str]](), broker.text_cost

    def text_cost(ns: Netns, kind: TextKind, part: str = "") -> tuple[bytes, int]:
        asked.append((kind, part))
        return ask(ns, kind, part)

    monkeypatch.setattr(broker, "text_cost", text_cost)
    return asked


def test_commits_without_a_pause_are_logged_as_they_come_and_words_come_again(
    broker: Broker, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    ns = lab.netns("c")
    run_in(ns, "nft", "-f", "-", stdin=RULES)
    run_in(ns, "iptables-nft", "-A", "INPUT", "-p", "tcp", "--dport", "80", "-j", "ACCEPT")
    with closing(LiveSession(broker, ns)) as session:
        ruleset = lambda put: session._run.on_models(lambda engine, now_ns: put([engine.ruleset]))  # noqa: E731
        poll(lambda: is_whole(session), what="the rules are read")
        (found,) = answer(ruleset)
        asked = noted_texts(broker, monkeypatch)
        saved = asked.count((TextKind.IPTABLES_SAVE, ""))
        with repeated_commits(ns, one_rule_less_and_one_more, 0.02):
            poll(lambda: len(commits(session)) >= 50, 10.0, "50 commits in the log")
            assert found.stale(), "the words are marked old"
            last = commits(session)[-1]
            assert last.by.startswith("nft (") and {one.sign for one in last.changes} <= {"+", "-"}
            assert any("[ immediate reg 0 accept ]" in one for one in told([last])), "its expressions, without words"
            before = asked.count((TextKind.NFT_RULESET, "inet fw"))
            poll(lambda: asked.count((TextKind.NFT_RULESET, "inet fw")) > before + 1, 15.0, "listings of the table")
            assert asked.count((TextKind.IPTABLES_SAVE, "")) == saved, "its rules are as they were"
        last_rule = re.compile(r"\+ inet fw lan 1  udp dport \d+ accept")
        poll(lambda: any(map(last_rule.fullmatch, told(commits(session)[-1:]))), WORDS_S, "the words of the last rule")
        assert all(len(one.changes) <= 2 for one in commits(session)), "each commit by itself"


def test_commits_in_one_table_have_no_other_one_listed_and_its_words_are_new_within_seconds(
    broker: Broker, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    ns = lab.netns("d")
    run_in(ns, "nft", "-f", "-", stdin=RULES)
    run_in(ns, "iptables-nft", "-A", "INPUT", "-p", "tcp", "--dport", "80", "-j", "ACCEPT")
    run_in(ns, "nft", "add table inet other; add chain inet other c")
    with closing(LiveSession(broker, ns)) as session:
        rules = lambda put: session._run.on_models(lambda engine, now_ns: put(engine.ruleset.picture.rules))  # noqa: E731
        poll(lambda: is_whole(session), what="the rules are read")
        asked = noted_texts(broker, monkeypatch)
        port = count(1000)
        script = lambda _: f"add rule inet other c tcp dport {next(port)} counter"  # noqa: E731
        with repeated_commits(ns, script, 0.05):
            for _ in range(3):
                least = next(port)
                poll(lambda least=least: newest_port(answer(rules)) >= least, 10.0, "the words of a newer rule")  # type: ignore[misc]
        last = next(port) - 1
        poll(lambda: newest_port(answer(rules)) == last and is_whole(session), what="all words")
        told = {one.raw.handle: one.text for one in answer(rules)}
    rules_now = run_in(ns, "nft", "-a", "list", "table", "inet", "other")
    assert {one for one in asked if one[0] in RULESET_KINDS} == {(TextKind.NFT_RULESET, "inet other")}
    assert all(re.search(rf"\t{re.escape(told[int(handle)])} # handle {handle}\n", rules_now)
               for handle in re.findall(r"counter.* # handle (\d+)", rules_now))  # fmt: skip


def newest_port(rules: list[RuleView]) -> int:
    found = [re.search(r"^tcp dport (\d+) counter", one.text or "") for one in rules]
    return max((int(one[1]) for one in found if one), default=0)
