"""The cursor holds on to a row while rows come, go and change places."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nettop.model.table import Row, Snapshot, ViewSpec
from nettop.ui.widgets.viewport import Viewport


def answer(viewport: Viewport, order: list[int], margin: int = 4) -> bool:
    """Apply the snapshot of a model with these rows; True: the viewport requests another."""
    first, height = viewport.request_range(margin)
    spec = ViewSpec(("k",), first=first, height=height, anchor=viewport.anchor, follow=viewport.follow)
    start = max(0, len(order) - height) if spec.follow else min(first, len(order))
    rows = tuple(Row(i, (str(i),), ("",)) for i in order[start : start + height])
    at = order.index(spec.anchor) if spec.anchor in order else None
    return viewport.apply(Snapshot(spec, start, rows, len(order), len(order), at))


def settled(viewport: Viewport, order: list[int]) -> None:
    for _ in range(3):
        if not answer(viewport, order):
            return
    raise AssertionError("it never covers the viewport")


def current(viewport: Viewport) -> int | None:
    return None if viewport.current is None else viewport.current.ident


def make(order: list[int], height: int = 10) -> Viewport:
    viewport = Viewport()
    viewport.resize(height)
    settled(viewport, order)
    return viewport


def test_at_the_top_the_cursor_shows_whatever_is_first() -> None:
    viewport = make([1, 2, 3])
    settled(viewport, [9, 1, 2, 3])
    assert current(viewport) == 9 and not viewport.anchored


def test_away_from_the_top_it_holds_on_to_its_row_and_its_line() -> None:
    order = list(range(100))
    viewport = make(order)
    viewport.move_to(30)
    settled(viewport, order)
    assert viewport.shown is not None
    line = viewport.shown.index - viewport.shown.first
    settled(viewport, [*range(1000, 1050), *order])
    assert current(viewport) == 30 and viewport.shown.index == 80
    assert viewport.shown.index - viewport.shown.first == line


def test_a_row_that_left_gives_the_cursor_to_the_one_that_came_there() -> None:
    order = list(range(20))
    viewport = make(order)
    viewport.move_to(5)
    settled(viewport, [i for i in order if i != 5])
    assert current(viewport) == 6


def test_everything_may_vanish() -> None:
    viewport = make(list(range(50)))
    viewport.move_to(40)
    settled(viewport, [])
    assert current(viewport) is None and viewport.first == 0
    settled(viewport, [7])
    assert current(viewport) == 7


def test_following_stays_at_the_end_and_moving_ends_it() -> None:
    viewport = make(list(range(30)))
    viewport.go_follow()
    settled(viewport, list(range(40)))
    assert current(viewport) == 39
    viewport.move_to(viewport.index - 1)
    settled(viewport, list(range(60)))
    assert current(viewport) == 38


def test_pinned_it_holds_even_at_the_top() -> None:
    viewport = make([1, 2, 3])
    viewport.pin(True)
    settled(viewport, [9, 8, 1, 2, 3])
    assert current(viewport) == 1
    viewport.pin(False)
    assert viewport.anchored, "it is away from the top now"


def test_what_is_shown_stays_until_the_rows_are_there() -> None:
    viewport = make(list(range(1000)))
    viewport.move_to(900)
    assert viewport.shown is not None and viewport.shown.index == 0, "nothing blank meanwhile"
    settled(viewport, list(range(1000)))
    assert current(viewport) == 900


def test_a_row_is_sought_wherever_it_stands() -> None:
    order = list(range(1000))
    viewport = make(order)
    viewport.seek(700)
    settled(viewport, order)
    assert current(viewport) == 700
    viewport.seek(4711)
    settled(viewport, order)
    assert current(viewport) == 700, "there is none: the cursor stays"


def test_riding_the_cursor_goes_where_its_row_goes_also_from_the_top() -> None:
    viewport = make(list(range(100)))
    viewport.track(True)
    settled(viewport, [*range(1, 100), 0])
    assert current(viewport) == 0 and viewport.shown is not None and viewport.shown.index == 99
    viewport.move_to(98)
    assert not viewport.tracking


def test_coming_back_to_a_spot_survives_a_resize_before_the_answer() -> None:
    order = list(range(500))
    viewport = make(order)
    viewport.move_to(300)
    settled(viewport, order)
    saved = viewport.state
    viewport.reset()
    settled(viewport, [7])
    viewport.restore(saved)
    viewport.resize(12)
    settled(viewport, order)
    assert current(viewport) == 300


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
    viewport = make(order)
    for what, value in found:
        if what == "move":
            viewport.move_to(value)
        elif what == "scroll":
            viewport.scroll(value)
        elif what == "resize":
            viewport.resize(value)
        elif what == "follow":
            viewport.go_follow()
        elif what == "pin":
            viewport.pin(bool(value))
        else:
            order = random.Random(value).sample(range(100), value % 80)
        held = viewport.anchor
        settled(viewport, order)
        assert viewport.shown is not None
        shown = viewport.shown
        if order:
            assert shown.first <= shown.index < shown.first + viewport.height
            assert viewport.current is not None and 0 <= shown.index < len(order)
            assert order[shown.index] == viewport.current.ident
        if held in order and not viewport.follow and held is not None:
            assert current(viewport) == held


def test_a_released_order_moves_the_cursor_with_its_row_and_leaves_the_screen_where_it_is() -> None:
    order = list(range(100))
    viewport = make(order)
    viewport.move_to(3)
    settled(viewport, order)
    assert viewport.frozen
    viewport.release()
    assert viewport.anchored and not viewport.frozen
    settled(viewport, [50, 51, *(i for i in order if i not in (50, 51))])
    assert viewport.shown is not None and (viewport.shown.first, viewport.shown.index) == (0, 5)
    assert current(viewport) == 3
    settled(viewport, [i for i in order if i != 3] + [3])
    assert (viewport.shown.first, viewport.shown.index) == (0, 5), "the row left the screen; the top rows did not"
    viewport.move_to(6)
    assert viewport.frozen, "a movement holds the order again"


def test_a_released_order_keeps_a_row_whose_detail_is_open_on_its_line() -> None:
    order = list(range(100))
    viewport = make(order)
    viewport.move_to(3)
    viewport.pin(True)
    settled(viewport, order)
    viewport.release()
    settled(viewport, [i for i in order if i != 3] + [3])
    assert current(viewport) == 3
