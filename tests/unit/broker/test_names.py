"""One look-up, as the broker's child makes it: the answers are the system's own."""

from __future__ import annotations

import socket

from nettop.broker.names import lookup
from nettop.broker.requests import ResolveName


def test_a_service_has_the_systems_name_and_bad_questions_have_none() -> None:
    assert lookup(ResolveName("", 6, 22)) == socket.getservbyport(22, "tcp") == "ssh"
    assert lookup(ResolveName("", 17, 53)) == socket.getservbyport(53, "udp")
    nothing = [ResolveName("", *pair) for pair in ((6, 60_999), (1, 8), (6, 99_999_999), (6, -1), (99, 80))]
    nothing += [ResolveName(text, 0, 0) for text in ("no address", "10.0.0.1\0")]
    assert [lookup(query) for query in nothing] == [None] * len(nothing)


def test_loopback_has_the_name_that_the_system_gives_it() -> None:
    assert lookup(ResolveName("127.0.0.1", 0, 0)) == socket.getnameinfo(("127.0.0.1", 0), socket.NI_NAMEREQD)[0]
