"""`nettop map` where the list of namespaces cannot be read."""

from __future__ import annotations

from typing import cast

from nettop.batch import Text
from nettop.headless.map import _Reading
from nettop.kinds import TextKind
from nettop.pipeline.engine import Engine
from nettop.pipeline.live_sources import LiveSources
from nettop.pipeline.map_sources import MapSources


class NoSources:
    """Sources that read nothing."""

    stream = 1

    def start(self, once: bool, sysctls: bool) -> None: ...

    def follow(self, namespaces: object) -> None: ...


class Live:
    """A live namespace with the inode 7."""

    class netns:
        inode = 7

    def host_map(self) -> MapSources:
        return cast(MapSources, NoSources())


def test_the_reason_why_the_namespaces_are_not_known_is_kept() -> None:
    reading, engine = _Reading(sysctls=False), Engine("")
    reading.begin(cast(LiveSources, Live()))
    late = "namespaces: it took too long and was ended"
    assert not reading.enough(engine, Text(0, 0, 0, TextKind.NAMESPACES, b"", late)) and reading.error == late
    assert not reading.enough(engine, Text(0, 0, 0, TextKind.NAMESPACES, b"")) and not reading.error
