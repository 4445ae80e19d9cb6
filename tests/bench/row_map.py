"""map-200: the devices of two hundred namespaces, from nothing to all read, and what looking at them costs."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench import child
from tests.bench.report import Line, line
from tests.bench.world import World


def map_200(world: World) -> Iterator[Line]:
    """Seconds until all is read, and per cent of a core of the session and its broker while the map is shown."""
    count = world.size(200, 5)
    with world.many_namespaces(count) as hub:
        found = child.answer(child.command("map_child", hub, str(count), str(world.seconds(20, 1))))
    what = f"{count} namespaces with 5 devices each"
    yield line("map-200", f"{what}: read", found["read"], most=1.5)
    yield line("map-200", f"{what}: shown", found["load"], "%", most=5, note="of a core, broker with it")
