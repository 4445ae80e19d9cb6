"""Back and forth along the places a person came from."""

from __future__ import annotations

from nettop.ui.navigation import LONGEST, JumpHistory


def test_back_and_forward_are_a_browsers() -> None:
    history: JumpHistory[str] = JumpHistory()
    assert history.back("a") is None and history.forward("a") is None
    history.add("a")
    history.add("b")
    assert history.back("c") == "b"
    assert history.back("b") == "a"
    assert history.back("a") is None
    assert history.forward("a") == "b"
    assert history.forward("b") == "c"
    assert history.forward("c") is None
    assert history.back("c") == "b"
    history.add("b")
    assert history.forward("d") is None, "another jump forgets what lay ahead"
    assert history.back("d") == "b"


def test_only_the_last_places_are_kept() -> None:
    history: JumpHistory[int] = JumpHistory()
    for position in range(3 * LONGEST):
        history.add(position)
    found = 0
    while history.back(0) is not None:
        found += 1
    assert found == LONGEST
