"""The namespaces that can be watched, and the devices of one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from nettop.batch import Text
from nettop.broker.client import Broker
from nettop.broker.requests import Netns
from nettop.decode.topology.namespaces import decode_namespaces
from nettop.decode.topology.objects import Namespace
from nettop.errors import BrokerError
from nettop.kinds import TextKind
from nettop.session.status import DeviceChoice, NetnsChoice
from nettop.text.sanitize import clean
from nettop.text.units import plural

_STARTED = "(where nettop started)"


def netns_choices(broker: Broker, specs: Iterable[str], shown: Netns, others: Sequence[Netns]) -> list[NetnsChoice]:
    """Return our own namespace, the others that are listed, and those of `specs`; `others` are watched, too.

    BrokerError if the broker has ended.
    """
    body = b""
    with suppress(BrokerError):  # the names in /run/netns are listed in any case
        body = broker.text(broker.netns(""), TextKind.NAMESPACES)
    listed = decode_namespaces(Text(0, 0, 0, TextKind.NAMESPACES, body)).namespaces
    places = {one.inode: one.label for one in (shown, *others)}  # a container may have been named by its id
    about = {places.get(one.inode, one.label): one for one in sorted(listed, key=_place) if not one.refusal}
    beside = {one.label for one in others}
    notes = {shown.label: "here"} | dict.fromkeys(beside, "its flows too")
    return [
        NetnsChoice(spec, clean(spec) or _STARTED, notes.get(spec) or _note(about.get(spec)), spec in beside)
        for spec in dict.fromkeys(("", *about, *broker.namespaces()[0], *specs))
    ]


def device_choices(broker: Broker, netns: Netns) -> list[DeviceChoice]:
    """Return the devices of a namespace. Those that are up, except loopback, are the usual ones."""
    found = broker.devices(netns)
    usual = {d.name for d in found if d.up and d.name != "lo"} or {d.name for d in found if d.up}
    return [DeviceChoice(d.name, f"{'up' if d.up else 'down'}, mtu {d.mtu}", d.name in usual) for d in found]


def _place(one: Namespace) -> tuple[bool, bool, int, str]:
    return bool(one.label), not one.names, one.pid, one.label


def _note(one: Namespace | None) -> str:
    if one is None or not one.label:
        return ""
    processes = plural(one.processes, "process", "processes") if one.processes else ""
    return ", ".join(fact for fact in (one.container, one.command, processes) if fact)
