"""Back and forth along the places a person came from."""

from __future__ import annotations

from nettop.ui.navigation import LONGEST, JumpHistory


def test_back_and_forward_are_a_browsers() -> None:
    history = JumpHistory()
    assert history.go(-1, "a") is None and history.go(1, "a") is None
    history.add("a")
    history.add("b")
    assert history.go(-1, "c") == "b"
    assert history.go(-1, "b") == "a"
    assert history.go(-1, "a") is None
    assert history.go(1, "a") == "b"
    assert history.go(1, "b") == "c"
    assert history.go(1, "c") is None
    assert history.go(-1, "c") == "b"
    history.add("b")
    assert history.go(1, "d") is None, "another jump forgets what lay ahead"
    assert history.go(-1, "d") == "b"


def test_only_the_last_places_are_kept() -> None:
    history = JumpHistory()
    for position in range(3 * LONGEST):
        history.add(position)
    found = 0
    while history.go(-1, 0) is not None:
        found += 1
    assert found == LONGEST
