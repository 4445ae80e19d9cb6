"""Painting at once: what a key has changed is laid out and drawn in the turn of the loop that took the key.

Textual gets there in four more turns (the widget's, the screen's, the timer's). Each begins with a wait for input that
lets go of the interpreter, and under load a busy thread then keeps it for up to 5 ms: that was most of the time from
key to paint. This does what Widget._check_refresh, Screen._on_update and Screen._on_layout of Textual 8.2 do.
"""

from __future__ import annotations

from typing import Any

from textual.screen import Screen
from textual.widget import Widget


def paint(screen: Screen[Any]) -> None:
    """Lay out and paint what waits for it. Does nothing behind a dialog, and nothing twice."""
    if not screen.is_current or screen.app._batch_count:
        return
    widgets = [widget for widget in screen.walk_children(Widget) if widget.is_attached]
    for widget in widgets:
        if widget._repaint_required:
            widget._repaint_required = False
            if widget.display:
                screen._dirty_widgets.add(widget)
        if widget._layout_required:
            widget._layout_required = False
            _forget_arrangement(widget)
            screen._layout_required = True
    if screen._dirty_widgets or screen._layout_required:
        screen._on_timer_update()


def _forget_arrangement(widget: Widget) -> None:
    """Its ancestors are to be arranged anew, as far up as sizes depend on it."""
    for ancestor in widget.ancestors:
        if not isinstance(ancestor, Widget):
            break
        ancestor._clear_arrangement_cache()
        ancestor._layout_updates += 1
        if not ancestor.styles.auto_dimensions:
            break
