"""The app's end of the broker's socket, with a test at the other end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict

import pytest

from nettop.broker import wire
from nettop.broker.client import Broker
from nettop.broker.requests import Netns

HELLO = {"pid": 1, "read_only": False, "capabilities": []}
HOME = Netns(0, "", 77)
OTHERS = {"pid:1": Netns(1, "pid:1", 77), "lab": Netns(2, "lab", 78)}


class Closing(Broker):
    """Another thread closes it just after on_gone was read."""

    reads = 0

    @property
    def on_gone(self) -> Callable[[Netns, str], None] | None:
        self.reads += 1
        return (lambda netns, reason: None) if self.reads == 1 else None

    @on_gone.setter
    def on_gone(self, value: Callable[[Netns, str], None] | None) -> None:
        """Ignore the value."""


def answer(sock: socket.socket) -> None:
    """Answer every GetNetns until the end."""
    while (received := wire.receive(sock)) is not None:
        request = received[0]
        wire.send(sock, {"id": request["id"], "body": asdict(OTHERS.get(request["spec"], HOME))})


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = wire.pair()
    with ours, theirs:
        yield ours, theirs


def test_a_namespace_may_go_while_the_app_closes(ends: tuple[socket.socket, socket.socket]) -> None:
    broker = Closing(ends[0], HELLO)
    broker._report_gone(HOME, "deleted")
    broker.close()


def test_home_is_home_by_any_name(ends: tuple[socket.socket, socket.socket]) -> None:
    other_end = threading.Thread(target=answer, args=(ends[1],))
    other_end.start()
    with Broker(ends[0], HELLO) as broker:
        at_home = {spec: broker.is_start_netns(broker.netns(spec)) for spec in ("", *OTHERS)}
    other_end.join()
    assert at_home == {"": True, "pid:1": True, "lab": False}
