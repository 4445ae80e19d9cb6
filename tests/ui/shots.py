"""`./dev shots [DIR]`: every view of a bundled recording as SVG, and as PNG where rsvg-convert is there.

Nothing is written but DIR; with --readme also the README's pictures, in tests/ui/pictures.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from nettop.batch import Batch, DumpMark
from nettop.labs.client import bundled
from nettop.recording.reader import open_reader
from nettop.recording.writer import RecordingWriter
from nettop.session.replay import ReplaySession
from tests.kernel.namespaces import poll
from tests.ui.plain_map import map_session, with_findings
from tests.ui.screenshots import MAP_SCENES, SCENES, screenshots
from tests.ui.settled import StillReplay

PICTURES = Path(__file__).parent / "pictures"
README = (
    *("flows-detail-dark-120x40", "traces-detail-dark-120x40", "groups-dark-120x40"),
    *("chains-rules-dark-120x40", "map-dark-160x45"),
)


def session_of(path: str) -> StillReplay:
    """A session at the end of a recording."""
    session = StillReplay(path)
    session.start()
    last = open_reader(path)
    newest = max((int(item.ts_ns[-1]) for item in last if isinstance(item, Batch) and len(item)), default=0)
    last.close()
    poll(lambda: ReplaySession.status(session).clock_ns >= newest, what="the recording is read")
    return session


def lively(path: str, out: Path) -> str:
    """The recording up to its last dumps, which were made after the traffic had stopped: every rate is 0 there."""
    reader = open_reader(path)
    items = list(reader)
    reader.close()
    ends = [i for i, item in enumerate(items) if isinstance(item, DumpMark) and item.what == "conntrack" and item.begin]
    writer = RecordingWriter(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644))
    writer.write(items[: ends[-2]])
    writer.close()
    return str(out)


def pngs(pictures: Sequence[Path]) -> None:
    """A PNG beside each SVG."""
    if tool := shutil.which("rsvg-convert"):
        commands = ([tool, picture, "-o", picture.with_suffix(".png")] for picture in pictures)
        with ThreadPoolExecutor() as pool:
            list(pool.map(partial(subprocess.run, check=True), commands))


def main() -> None:
    """Draw every screen into a folder."""
    parser = argparse.ArgumentParser(prog="./dev shots", description=main.__doc__)
    parser.add_argument("dir", nargs="?", type=Path, default=Path("shots"), help="where to (default: shots)")
    parser.add_argument("--readme", action="store_true", help="put the README's pictures into tests/ui/pictures, too")
    options = parser.parse_args()
    out: Path = options.dir
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        session = session_of(lively(bundled(), Path(scratch, "lively.pcapng")))
        try:
            made = screenshots(session, out, SCENES) + screenshots(with_findings(map_session()), out, MAP_SCENES)
        finally:
            session.close()
    pngs(made)
    for name in README if options.readme else ():
        shutil.copy(out / f"{name}.svg", PICTURES / f"{name}.svg")
    print(f"{len(made)} pictures in {out}", file=sys.stderr)


if __name__ == "__main__":
    main()
