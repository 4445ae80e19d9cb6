"""Pictures of every view as SVG, without a terminal: for the README, and to be looked at."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.cells import cell_len

from nettop.session.base import Session
from nettop.ui.theme import Theme
from nettop.ui.theme import load as load_themes
from tests.ui.settled import CountedApp, settled_and_updated

SIZES = ((80, 24), (120, 40), (160, 45))

# What is pressed before each picture.
SCENES: Mapping[str, Sequence[str]] = {
    "flows": ("1",),
    "flows-detail": ("1", "j", "j", "enter"),
    "groups": ("1", "b", "enter"),
    "group-open": ("1", "b", "enter", "j", "enter"),
    "sort": ("1", "s"),
    "completion": ("1", "slash", "s", "t", "a"),
    "events": ("2",),
    "chains": ("3",),
    "chains-rules": ("3", *"ll", "enter", *"jjjjj"),
    "packets": ("4", "g", "j", "enter"),
    "counters": ("5",),
    "traces": ("7", "g", *"jjjj"),
    "traces-detail": ("7", "g", *"jjjj", "enter"),
    "help": ("1", "question_mark"),
}
MAP_SCENES: Mapping[str, Sequence[str]] = {
    "map": ("6", "j"),
    "map-detail": ("6", *"jjjjj", "enter"),
    "map-drawing": ("6", "d"),
    "map-routes": ("6", "o"),
}


_TEXT = re.compile(r'<text (class="[^"]*") x="([0-9.]+)" y="([0-9.]+)" textLength="[0-9.]+" (clip[^>]*)>([^<]*)</text>')
_WORDS = re.compile(r"(?:(?!\xa0\xa0).)+")  # text without two blanks in a row
_CELL = 12.2  # width of a cell in the pictures that rich makes


def _in_columns(svg: str) -> str:
    """The same picture with every run of words at its own cell.

    Rich draws a whole run of one style as one text; a renderer with another font, or one that drops leading blanks,
    would let the columns drift.
    """

    def split(match: re.Match[str]) -> str:
        style, x, y, clip, text = match.groups()
        plain = html.unescape(text)
        parts = []
        for words in _WORDS.finditer(plain):
            shown = words.group()
            cells = cell_len(plain[: words.start()]) + len(shown) - len(shown.lstrip("\xa0"))
            if kept := shown.strip("\xa0"):
                at, length = float(x) + _CELL * cells, _CELL * cell_len(kept)
                body = html.escape(kept).replace("\xa0", "&#160;")
                parts.append(f'<text {style} x="{at:g}" y="{y}" textLength="{length:g}" {clip}>{body}</text>')
        return "".join(parts)

    return _TEXT.sub(split, svg)


async def _scene(session: Session, size: tuple[int, int], theme: Theme, keys: Sequence[str]) -> str:
    app = CountedApp(session, theme)
    async with app.run_test(size=size):
        await settled_and_updated(app)
        for key in keys:
            app.simulate_key(key)
            await settled_and_updated(app)
        return _in_columns(app.export_screenshot(title="nettop"))


def screenshots(
    session: Session,
    outdir: str | Path,
    scenes: Mapping[str, Sequence[str]],
    sizes: Iterable[tuple[int, int]] = SIZES,
    themes: Iterable[str] = ("dark", "light"),
) -> list[Path]:
    """Writes NAME-THEME-WxH.svg for every scene, theme and size into outdir; returns the paths.

    The session stays open.
    """
    found, _ = load_themes()
    folder = Path(outdir)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for theme in themes:
        for size in sizes:
            for name, keys in scenes.items():
                path = folder / f"{name}-{theme}-{size[0]}x{size[1]}.svg"
                path.write_text(asyncio.run(_scene(session, size, found[theme], keys)), "utf-8")
                written.append(path)
    return written
