"""Questions to the kernel for the route of a packet, in the namespace where it would be."""

from __future__ import annotations

import errno
import os
import select
from contextlib import suppress

from nettop.broker.client import Broker
from nettop.broker.requests import Netns, ReadRequest, RouteQuestion
from nettop.decode.rtnetlink import RouteAnswer, decode_route_answer
from nettop.errors import BrokerError
from nettop.linux.netlink import NETLINK_ROUTE, MalformedError
from nettop.model.topology.host_map import NamespaceMap

_REFUSED = (errno.EINVAL, errno.EXDEV)  # EXDEV before Linux 6.13
_TIMEOUT_S = 5.0
_LONGEST = 1 << 16  # bytes: a route with hundreds of next hops


def is_dropped(broker: Broker, space: NamespaceMap, question: RouteQuestion) -> bool:
    """Return whether the kernel refuses a packet that comes in; False: it cannot be asked."""
    with suppress(BrokerError):
        netns = broker.netns(space.namespace.label, again=True)
        try:
            if netns.inode == space.namespace.inode:
                return ask_route(broker, netns, question).error in _REFUSED
        finally:
            broker.leave(netns)
    return False


def ask_route(broker: Broker, netns: Netns, question: RouteQuestion) -> RouteAnswer:
    """Return the kernel's answer; its errors are in it. BrokerError: it could not be asked, or does not answer."""
    sock = broker.netlink_socket(netns, NETLINK_ROUTE)
    try:
        broker.request(sock, ReadRequest.RTNL_ROUTE, of_route=question)
        poller = select.poll()
        poller.register(sock.fd, select.POLLIN)
        if not poller.poll(_TIMEOUT_S * 1000):
            raise BrokerError("route: the kernel does not answer")
        return decode_route_answer(os.read(sock.fd, _LONGEST))
    except MalformedError as error:
        raise BrokerError(f"route: the kernel's answer is not understood: {error}") from error
    finally:
        os.close(sock.fd)
        with suppress(BrokerError):
            broker.release(sock)
