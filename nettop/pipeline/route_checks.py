"""The kernel's answers to questions of findings, asked in the background: the models do not wait for them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from nettop.broker.client import Broker
from nettop.broker.requests import RouteQuestion
from nettop.model.topology.host_map import NamespaceMap
from nettop.pipeline.route_question import is_dropped

_MOST = 4096  # answers that are kept

Key = tuple[str, RouteQuestion]  # with the label of the namespace


class RouteChecks:
    """The last answers; the kernel is asked again once the namespace has changed. drops() is for one thread."""

    def __init__(self, broker: Broker) -> None:
        self.version = 0  # grows with each answer that differs
        self._broker = broker
        self._known: dict[Key, bool] = {}
        self._asked: dict[Key, tuple[object, ...]] = {}  # the state of the namespace then
        self._pool = ThreadPoolExecutor(1, "nettop-routes")

    def drops(self, space: NamespaceMap, question: RouteQuestion) -> bool:
        """Return whether the kernel drops the packet, as of the last answer; False: there is none yet."""
        key, state = (space.namespace.label, question), (space.layout_version, space.sysctls)
        if self._asked.get(key) != state:
            if len(self._asked) >= _MOST:
                self._asked, self._known = {}, {}
            self._asked[key] = state
            self._pool.submit(self._answer, key, space)
        return self._known.get(key, False)

    def close(self) -> None:
        """Ask nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, key: Key, space: NamespaceMap) -> None:
        dropped = is_dropped(self._broker, space, key[1])
        self.version += dropped != self._known.get(key, False)
        self._known[key] = dropped
