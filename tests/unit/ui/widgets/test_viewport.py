"""The cursor holds on to a row while rows come, go and change places."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nettop.model.table import Row, Snapshot, ViewSpec
from nettop.ui.widgets.viewport import Window


def answer(window: Window, order: list[int], margin: int = 4) -> bool:
    """What a model with these rows says to what the window wants; True: it wants more."""
    first, height = window.wanted(margin)
    spec = ViewSpec(("k",), first=first, height=height, anchor=window.anchor, follow=window.follow)
    start = max(0, len(order) - height) if spec.follow else min(first, len(order))
    rows = tuple(Row(i, (str(i),), ("",)) for i in order[start : start + height])
    at = order.index(spec.anchor) if spec.anchor in order else None
    return window.arrived(Snapshot(spec, start, rows, len(order), len(order), at))


def settled(window: Window, order: list[int]) -> None:
    for _ in range(3):
        if not answer(window, order):
            return
    raise AssertionError("it never covers the window")


def current(window: Window) -> int | None:
    return None if window.current is None else window.current.ident


def make(order: list[int], height: int = 10) -> Window:
    window = Window()
    window.resize(height)
    settled(window, order)
    return window


def test_at_the_top_the_cursor_shows_whatever_is_first() -> None:
    window = make([1, 2, 3])
    settled(window, [9, 1, 2, 3])
    assert current(window) == 9 and not window.holding


def test_away_from_the_top_it_holds_on_to_its_row_and_its_line() -> None:
    order = list(range(100))
    window = make(order)
    window.move_to(30)
    settled(window, order)
    assert window.shown is not None
    line = window.shown.index - window.shown.first
    settled(window, [*range(1000, 1050), *order])
    assert current(window) == 30 and window.shown.index == 80
    assert window.shown.index - window.shown.first == line


def test_a_row_that_left_gives_the_cursor_to_the_one_that_came_there() -> None:
    order = list(range(20))
    window = make(order)
    window.move_to(5)
    settled(window, [i for i in order if i != 5])
    assert current(window) == 6


def test_everything_may_vanish() -> None:
    window = make(list(range(50)))
    window.move_to(40)
    settled(window, [])
    assert current(window) is None and window.first == 0
    settled(window, [7])
    assert current(window) == 7


def test_following_stays_at_the_end_and_moving_ends_it() -> None:
    window = make(list(range(30)))
    window.go_follow()
    settled(window, list(range(40)))
    assert current(window) == 39
    window.move_to(window.index - 1)
    settled(window, list(range(60)))
    assert current(window) == 38


def test_pinned_it_holds_even_at_the_top() -> None:
    window = make([1, 2, 3])
    window.pin(True)
    settled(window, [9, 8, 1, 2, 3])
    assert current(window) == 1
    window.pin(False)
    assert window.holding, "it is away from the top now"


def test_what_is_shown_stays_until_the_rows_are_there() -> None:
    window = make(list(range(1000)))
    window.move_to(900)
    assert window.shown is not None and window.shown.index == 0, "nothing blank meanwhile"
    settled(window, list(range(1000)))
    assert current(window) == 900


def test_a_row_is_sought_wherever_it_stands() -> None:
    order = list(range(1000))
    window = make(order)
    window.seek(700)
    settled(window, order)
    assert current(window) == 700
    window.seek(4711)
    settled(window, order)
    assert current(window) == 700, "there is none: the cursor stays"


def test_riding_the_cursor_goes_where_its_row_goes_also_from_the_top() -> None:
    window = make(list(range(100)))
    window.ride(True)
    settled(window, [*range(1, 100), 0])
    assert current(window) == 0 and window.shown is not None and window.shown.index == 99
    window.move_to(98)
    assert not window.riding


def test_coming_back_to_a_spot_survives_a_resize_before_the_answer() -> None:
    order = list(range(500))
    window = make(order)
    window.move_to(300)
    settled(window, order)
    spot = window.spot
    window.reset()
    settled(window, [7])
    window.return_to(spot)
    window.resize(12)
    settled(window, order)
    assert current(window) == 300


steps = st.one_of(
    st.tuples(st.just("move"), st.integers(-5, 60)),
    st.tuples(st.just("scroll"), st.integers(-20, 20)),
    st.tuples(st.just("resize"), st.integers(1, 30)),
    st.tuples(st.just("follow"), st.just(0)),
    st.tuples(st.just("pin"), st.integers(0, 1)),
    st.tuples(st.just("rows"), st.integers(0, 2**32)),
)


@given(st.lists(steps, max_size=40))
def test_the_cursor_is_always_on_the_screen_and_the_held_row_under_it(found: list[tuple[str, int]]) -> None:
    import random

    order = list(range(50))
    window = make(order)
    for what, value in found:
        if what == "move":
            window.move_to(value)
        elif what == "scroll":
            window.scroll(value)
        elif what == "resize":
            window.resize(value)
        elif what == "follow":
            window.go_follow()
        elif what == "pin":
            window.pin(bool(value))
        else:
            order = random.Random(value).sample(range(100), value % 80)
        held = window.anchor
        settled(window, order)
        assert window.shown is not None
        shown = window.shown
        if order:
            assert shown.first <= shown.index < shown.first + window.height
            assert window.current is not None and 0 <= shown.index < len(order)
            assert order[shown.index] == window.current.ident
        if held in order and not window.follow and held is not None:
            assert current(window) == held
