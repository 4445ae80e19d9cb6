"""The log of changes has the elements of sets that nft adds and deletes: those named, and how many."""

from __future__ import annotations

from contextlib import closing, suppress
from functools import partial

import pytest

from nettop.broker.client import Broker
from nettop.model.ruleset.changes.log import Commit
from nettop.session.live import LiveSession
from tests.kernel.namespaces import Lab, poll, run_in
from tests.kernel.test_rule_changes import commits, is_whole

pytestmark = pytest.mark.kernel

RULES = """table inet fw {
    set bad { type ipv4_addr; }
    set nets { type ipv4_addr; flags interval; }
    set both { type ipv4_addr . inet_service; flags interval; }
    map ways { type inet_service : verdict; }
    chain in { type filter hook input priority 0; ip saddr @bad drop; ip saddr @nets drop; }
    chain other { }
}"""
MANY = ", ".join(f"10.9.{n >> 8}.{n & 255}" for n in range(5000))
FEW = "10.9.0.0, 10.9.0.1, 10.9.0.2, 10.9.0.3, 10.9.0.4, 10.9.0.5, 10.9.0.6, 10.9.0.7, 10.9.0.8, 10.9.0.9"
STEPS = (
    (
        "add element inet fw bad { 10.0.0.7, 10.0.0.5 }; "
        "add element inet fw nets { 10.0.0.0/8, 172.16.0.0-172.16.0.9, 192.168.1.7, 255.255.255.0/24 }; "
        "add element inet fw both { 10.0.0.0/16 . 80-90 }; add element inet fw ways { 22 : accept, 80 : drop }",
        {
            "+ inet fw @bad  10.0.0.5, 10.0.0.7",
            "+ inet fw @nets  10.0.0.0/8, 172.16.0.0-172.16.0.9, 192.168.1.7, 255.255.255.0/24",
            "+ inet fw @both  10.0.0.0/16 . 80-90",
            "+ inet fw @ways  22 : accept, 80 : drop",
        },
    ),
    (
        f"delete element inet fw nets {{ 192.168.1.7 }}; add element inet fw bad {{ {MANY} }}; "
        "delete element inet fw bad { 10.0.0.5 }",
        {"- inet fw @nets  192.168.1.7", f"+ inet fw @bad  {FEW} and 4,990 more", "- inet fw @bad  10.0.0.5"},
    ),
    (
        "add set inet fw fresh { type inet_service; elements = { 53 }; }; add rule inet fw in udp dport @fresh accept; "
        "add rule inet fw in tcp dport { 1, 2 } accept",
        {
            "+ inet fw @fresh  53",
            "+ inet fw in 3  udp dport @fresh accept",
            "+ inet fw in 4  tcp dport { 1, 2 } accept",
        },
    ),
)


def follows(session: LiveSession, ns: str) -> list[Commit]:
    """Make a change; the commits, if the log has it. One before the first dump has ended is none: the dump has it."""
    run_in(ns, "nft", "add rule inet fw other counter")
    with suppress(AssertionError):
        poll(lambda: commits(session), 5.0)
    return commits(session)


def made_by(session: LiveSession, wanted: set[str]) -> list[Commit]:
    """The commits with exactly these changes."""
    return [one for one in commits(session) if {f"{it.sign} {it.where}  {it.text}" for it in one.changes} == wanted]


def test_the_log_names_the_elements_that_a_commit_changed(broker: Broker, lab: Lab) -> None:
    ns = lab.netns("a")
    run_in(ns, "nft", "-f", "-", stdin=RULES)
    with closing(LiveSession(broker, ns)) as session:
        poll(lambda: is_whole(session), what="the rules are read")
        poll(partial(follows, session, ns), 60.0, what="the first change")
        for command, wanted in STEPS:
            run_in(ns, "nft", "-f", "-", stdin=command)
            last = poll(partial(made_by, session, wanted), what=command[:60])[0]
            assert last.by.startswith("nft (")
            assert all(one.found == one.where.split()[-1] for one in last.changes if "@" in one.where)
