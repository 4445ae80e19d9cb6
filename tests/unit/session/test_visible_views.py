"""A view is looked at from the first question for it until some seconds after the last one."""

from __future__ import annotations

from nettop.session.visible_views import VISIBLE_S, VisibleViews


def test_a_view_is_looked_at_for_as_long_as_it_is_asked_for() -> None:
    now = [100.0]
    views = VisibleViews(lambda: now[0])
    assert views.add("flows")
    assert views.now() == {"flows"}
    now[0] += VISIBLE_S
    assert not views.add("flows")
    assert views.add("chains")
    now[0] += VISIBLE_S
    assert views.now() == {"flows", "chains"}
    now[0] += 0.1
    assert views.now() == frozenset()
    assert views.add("flows"), "it comes back on the screen"
