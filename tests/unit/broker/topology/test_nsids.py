"""The namespace behind each id, with as few questions as there are namespaces."""

from __future__ import annotations

from nettop.broker.topology.nsids import UNKNOWN, resolve

Known = dict[int, dict[int, int]]  # namespace → id → namespace


class Kernel:
    def __init__(self, known: Known) -> None:
        self.known, self.questions = known, 0

    def resolved(self, limit: int = 100_000) -> Known:
        ids = {inode: list(others) for inode, others in self.known.items()}
        return resolve(ids, self.ask, limit)

    def ask(self, inside: int, other: int) -> int:
        self.questions += 1
        return next((nsid for nsid, inode in self.known[inside].items() if inode == other), -1)


def test_around_a_hub_each_namespace_costs_one_question() -> None:
    leaves = range(2, 202)
    kernel = Kernel({1: {nsid: leaf for nsid, leaf in enumerate(leaves)}, **{leaf: {0: 1} for leaf in leaves}})
    assert kernel.resolved() == kernel.known
    assert kernel.questions <= 2 * len(leaves) + 2


def test_a_chain_and_a_namespace_that_knows_none() -> None:
    kernel = Kernel({1: {0: 2}, 2: {0: 1, 1: 3}, 3: {5: 2}, 4: {}})
    assert kernel.resolved() == kernel.known


def test_an_id_of_a_namespace_that_is_not_seen_stays_unknown() -> None:
    kernel = Kernel({1: {0: 2, 7: 99}, 2: {0: 1}})
    assert kernel.resolved() == {1: {0: 2, 7: UNKNOWN}, 2: {0: 1}}


def test_the_questions_are_limited() -> None:
    kernel = Kernel({one: {7: 999} for one in range(1, 400)})
    assert all(ids == {7: UNKNOWN} for ids in kernel.resolved(limit=1000).values())
    assert kernel.questions <= 1000


def test_a_hub_that_has_no_ids_yet_is_asked_for_first_once_it_was_found() -> None:
    leaves = range(2, 202)
    kernel = Kernel({**{leaf: {0: 1} for leaf in leaves}, 1: {}})
    assert kernel.resolved() == kernel.known
    assert kernel.questions <= 2 * len(leaves) + 2
