"""A view is looked at from the first question for it until some seconds after the last one."""

from __future__ import annotations

from nettop.session.attention import LOOK_S, Attention


def test_a_view_is_looked_at_for_as_long_as_it_is_asked_for() -> None:
    now = [100.0]
    attention = Attention(lambda: now[0])
    assert attention.look("flows")
    assert attention.now() == {"flows"}
    now[0] += LOOK_S
    assert not attention.look("flows")
    assert attention.look("chains")
    now[0] += LOOK_S
    assert attention.now() == {"flows", "chains"}
    now[0] += 0.1
    assert attention.now() == frozenset()
    assert attention.look("flows"), "it comes back on the screen"
