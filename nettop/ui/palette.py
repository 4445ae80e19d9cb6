"""The text styles of a theme; without colour they are bold, dim and reverse."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Protocol, TypeVar, cast

from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.color import Color
from textual.dom import DOMNode
from textual.filter import LineFilter
from textual.theme import Theme as TextualTheme
from textual.widget import Widget

from nettop.ui.theme import Theme

_BOLD = {"heading", "key", "bad", "accent"}
_REVERSED = {"cursor", "bar_marked"}
Result = TypeVar("Result")


class Palette:
    """Styles by role and surface. One object for each theme; widgets compare it by identity to drop their caches."""

    def __init__(self, theme: Theme, colour: bool = True) -> None:
        self.theme = theme
        self.colour = colour
        self._styles: dict[tuple[str, str], Style] = {}

    def style(self, role: str = "", surface: str = "background") -> Style:
        """Return the style of text with this role on this surface (SURFACES, or "bar_marked": marked text in a bar)."""
        key = (role, surface)
        if (style := self._styles.get(key)) is None:
            style = self._styles[key] = self._make(role, surface)
        return style

    def _make(self, role: str, surface: str) -> Style:
        if role == "lit":  # bytes that belong to the line under the cursor
            role, surface = "heading", "cursor"
        bold = role in _BOLD or surface == "bar_marked"
        if not self.colour:
            return Style(bold=bold or None, dim=role == "dim" or None, reverse=surface in _REVERSED or None)
        roles, surfaces = self.theme.roles, self.theme.surfaces
        background = surfaces["cursor" if surface == "bar_marked" else surface]
        return Style(color=roles[role or "text"], bgcolor=background, bold=bold or None)


class ColouredApp(App[Result], inherit_bindings=False):
    """An app in the colours of a theme; without any if the environment has NO_COLOR."""

    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False

    def __init__(self, theme: Theme) -> None:
        self.palette = Palette(theme, "NO_COLOR" not in os.environ)  # Textual asks for the CSS variables at once
        super().__init__()
        if not self.palette.colour:
            self._filters = [NoColour()]
        self.use(theme)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Return our CSS variables, independent of the Textual theme."""
        return css_variables(self.palette.theme)

    def use(self, theme: Theme) -> None:
        """Give Textual's own widgets the colours of this theme."""
        css_theme = textual_theme(theme)
        self.register_theme(css_theme)
        self.theme = css_theme.name


class ThemedApp(Protocol):
    """The part of the app that widgets and dialogs use."""

    palette: Palette
    themes: Mapping[str, Theme]
    last_input: float  # time of the last key or click, of time.monotonic

    def apply_theme(self, theme: Theme) -> None:
        """Switch to this theme and draw every widget again."""
        ...


def themed_app(node: DOMNode) -> ThemedApp:
    """Return the app that a widget or screen is in."""
    return cast(ThemedApp, node.app)


def palette_of(widget: Widget) -> Palette:
    """Return the palette of the app that a widget is in."""
    return themed_app(widget).palette


def textual_theme(theme: Theme) -> TextualTheme:
    """Return the theme for Textual's own widgets (inputs, toasts, borders)."""
    roles, surfaces = theme.roles, theme.surfaces
    return TextualTheme(
        name=f"nettop-{theme.name}",
        dark=theme.dark,
        primary=surfaces["border"],
        secondary=roles["key"],
        accent=roles["accent"],
        warning=roles["warn"],
        error=roles["bad"],
        success=roles["good"],
        foreground=roles["text"],
        background=surfaces["background"],
        surface=surfaces["dialog"],
        panel=surfaces["bar"],
        variables=css_variables(theme),
    )


def css_variables(theme: Theme) -> dict[str, str]:
    """Return the variables of our CSS."""
    surfaces = {f"nt-{name}": theme.surfaces[name] for name in ("background", "bar", "dialog", "border")}
    return surfaces | {f"nt-{name}": theme.roles[name] for name in ("text", "dim", "bad")}


@lru_cache(1024)
def _colourless(style: Style) -> Style:
    return Style(bold=style.bold, dim=style.dim, reverse=style.reverse, underline=style.underline, meta=style.meta)


class NoColour(LineFilter):
    """A filter that removes all colours (https://no-color.org); bold, dim and reverse stay."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments without colour."""
        return [
            Segment(text, None if style is None else _colourless(style), control) for text, style, control in segments
        ]
