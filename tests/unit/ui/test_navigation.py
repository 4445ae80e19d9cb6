"""Back and forth along the places a person came from."""

from __future__ import annotations

from nettop.ui.navigation import LONGEST, Trail


def test_back_and_forward_are_a_browsers() -> None:
    trail: Trail[str] = Trail()
    assert trail.back("a") is None and trail.forward("a") is None
    trail.leave("a")
    trail.leave("b")
    assert trail.back("c") == "b"
    assert trail.back("b") == "a"
    assert trail.back("a") is None
    assert trail.forward("a") == "b"
    assert trail.forward("b") == "c"
    assert trail.forward("c") is None
    assert trail.back("c") == "b"
    trail.leave("b")
    assert trail.forward("d") is None, "another jump forgets what lay ahead"
    assert trail.back("d") == "b"


def test_only_the_last_places_are_kept() -> None:
    trail: Trail[int] = Trail()
    for place in range(3 * LONGEST):
        trail.leave(place)
    found = 0
    while trail.back(0) is not None:
        found += 1
    assert found == LONGEST
