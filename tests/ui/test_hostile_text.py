"""Whatever is called what in a recording, nothing of it drives the terminal: neither on the screen nor on stdout."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from nettop.batch import Batch, Item, PacketMeta, StreamAdded, Text
from nettop.kinds import StreamKind, TextKind
from nettop.recording.reader import open_reader
from nettop.recording.writer import RecordingWriter
from nettop.text.sanitize import clean
from nettop.ui.app import NettopApp
from nettop.ui.theme import load
from tests.ui.shots import session_of

CAPTURES = Path(__file__).parents[2] / "captures"
# Names of chains, tables, sets, counters, devices in rules, comments, helpers, processes and hosts in the captures.
NAMES = re.compile(
    rb"(?<![a-z_])(eth[01]|blocked|talkers|known bad|upload|edge|example|names|helped|made by hand|services|seen|"
    rb"dormant_hours|SERVICES|LOGGED|python3|talk)(?![a-z_])"
)
PIECES = ("\x1b[2J", "\x1b]0;", "\x07", "\r", "\x7f", "\x9b", "\u202e", "\u200b", "\u2028", "\x1b")
WALK = """1 enter tab G escape b enter j enter escape escape s escape C escape B escape question_mark escape
2 G enter y escape B escape 3 j enter enter j j escape escape 4 g enter tab j j j y escape escape B escape
5 j enter G escape y at escape 1 j y escape D escape"""


class Hostile:
    """Names made of what moves a cursor, sets a title or turns text round."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._known: dict[bytes, bytes] = {}
        self._renamed: dict[bytes, bytes] = {}
        self._netns = self.name()

    def name(self) -> str:
        return "\x1b[2J" + "".join(self._chance.choices(PIECES, k=2)) + "%s"

    def renamed(self, data: bytes) -> bytes:
        """The same bytes with other names, each as long as the one that it replaces."""
        if data not in self._renamed:  # many batches share one buffer
            other = NAMES.sub(lambda match: self._known.setdefault(match[0], self._as_long(len(match[0]))), data)
            self._renamed[data] = other
        return self._renamed[data]

    def _as_long(self, size: int) -> bytes:
        text = b"\x1b"
        while len(text) < size:
            text += self._chance.choice([piece for p in PIECES if len(piece := p.encode()) <= size - len(text)])
        return text

    def item(self, item: Item) -> Item:
        """The item with other names in all that a stranger could have named."""
        if isinstance(item, StreamAdded):
            names = {"netns": self._netns, "os": self.name()}
            if item.stream.kind is StreamKind.PACKETS:
                names |= {"name": self.name(), "capture_filter": self.name()}
            return replace(item, stream=replace(item.stream, **names))
        if isinstance(item, Text) and item.what is TextKind.PROCESSES:
            return replace(item, body=re.sub(rb'"name": ?"[^"]+"', rb'"name":"\\u001b[2J\\u202e"', item.body))
        if isinstance(item, Text):
            return replace(item, body=self.renamed(item.body))
        if isinstance(item, Batch):
            item = replace(item, buf=self.renamed(bytes(item.buf)))
            if isinstance(item.meta, PacketMeta):
                return replace(item, meta=replace(item.meta, comment={0: self.name()}))
        return item


def hostile(name: str, seed: int, folder: Path) -> Path:
    """The capture with other names."""
    path, names = folder / f"{name}-{seed}.pcapng", Hostile(seed)
    reader = open_reader(str(CAPTURES / f"{name}.pcapng"))
    writer = RecordingWriter(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644))
    writer.write([names.item(item) for item in reader])
    writer.close()
    reader.close()
    return path


def unsafe(lines: Iterable[str]) -> list[str]:
    return [line for line in lines if clean(line) != line]


@pytest.mark.parametrize(("name", "seed"), [("demo-gw-a", 1), ("three-backends", 2)])
async def test_hostile_names_do_not_reach_the_screen(name: str, seed: int, tmp_path: Path) -> None:
    themes, _ = load()
    session = session_of(str(hostile(name, seed, tmp_path)))
    app, drawn = NettopApp(session, themes["dark"], themes), set[str]()

    async def look(pilot: Pilot[int]) -> None:
        for _ in range(3):
            await pilot.pause(0.01)
            drawn.update("".join(s.text for s in strip) for strip in app.screen._compositor.render_strips(app.size))

    try:
        async with app.run_test(size=(160, 45), notifications=True) as pilot:
            for key in WALK.split():
                await look(pilot)
                await pilot.press(key)
            await look(pilot)
            drawn.update(app.clipboard.split("\n"))
    finally:
        session.close()
    assert unsafe(drawn) == []
    assert sum("\\x1b" in line or "\\u202e" in line for line in drawn) > 10


@pytest.mark.parametrize("command", ["read", "flows", "events", "counters", "rules"])
@pytest.mark.parametrize("json", ["", "--json"])
def test_hostile_names_do_not_reach_the_terminal_of_a_command(command: str, json: str, tmp_path: Path) -> None:
    for name in ("demo-gw-a", "three-backends") if command == "rules" else ("demo-gw-a",):
        path = str(hostile(name, 3, tmp_path))
        argv = [*command.split(), *([] if command == "read" else ["-r"]), path, *json.split()]
        done = subprocess.run([sys.executable, "-m", "nettop", *argv], capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        said = done.stdout.decode("utf-8")
        if json:
            said = said.replace("\x7f", "")  # JSON has no escape that it must have
        assert "\\" in said and unsafe((said + done.stderr.decode()).split("\n")) == []
