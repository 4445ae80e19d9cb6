"""A capture in the watched namespaces: a device of another one than the shown one is named `eth0 @ lan-a`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from nettop.broker.client import Broker
from nettop.broker.requests import Netns
from nettop.errors import BrokerError
from nettop.model.topology.device_words import label_text
from nettop.pipeline.captures import CaptureRequest, OpenRing, close_rings
from nettop.pipeline.live_sources import LiveSources
from nettop.session.choices import device_choices
from nettop.session.own_ssh import Connection, leaving_out
from nettop.session.status import Capturing, DeviceChoice
from nettop.text.sanitize import clean

_AT = " @ "


def devices(broker: Broker, watched: Sequence[Netns]) -> list[DeviceChoice]:
    """Return the devices of the watched namespaces; those of the shown one, the first, may be the usual ones."""
    shown, *others = watched
    found = device_choices(broker, shown)
    for other in others:
        names = device_choices(broker, other)
        found += [replace(one, name=_named(one.name, other), usual=False) for one in names]
    return found


def capturing(watched: Sequence[LiveSources]) -> tuple[str, ...]:
    """Return the names of the devices that are being captured."""
    shown, *others = watched
    rest = (_named(name, each.netns) for each in others for name in each.captures.names())
    return *shown.captures.names(), *rest


def start(
    broker: Broker,
    watched: Sequence[LiveSources],
    request: CaptureRequest,
    number: int,
    ssh: Connection | None,
    report: Callable[[str], None],
) -> Capturing:
    """Capture without our own ssh session, in place of a running capture. NettopError: none was begun."""
    opened: list[tuple[LiveSources, CaptureRequest, list[OpenRing]]] = []
    without = ""
    try:
        for sources, part in _parts(watched, request):
            own = ssh if broker.is_start_netns(sources.netns) else None
            part = replace(part, expression=leaving_out(request.expression, own))
            sources.captures.report = report
            opened.append((sources, part, sources.captures.open(part, number)))
            without = f"your ssh session, {own[0]}:{own[1]}" if own else without
        if not any(rings for _, _, rings in opened):
            raise BrokerError("no device is up here", "`ip link set DEVICE up`, or choose another namespace with @")
    except BaseException:
        for _, _, rings in opened:
            close_rings(rings)
        raise
    stop(each for each in watched if each not in [sources for sources, _, _ in opened])
    for sources, part, rings in opened:
        sources.captures.run(part, rings)
    if without:
        report(f"your own ssh session from {without.split(', ')[1]} is not captured")
    return Capturing(capturing(watched), request.expression, without, request.headers)


def stop(watched: Iterator[LiveSources] | Sequence[LiveSources]) -> None:
    """End every ring."""
    for sources in watched:
        sources.captures.stop()


def _named(name: str, netns: Netns) -> str:
    return f"{name}{_AT}{clean(label_text(netns.label))}"


def _parts(watched: Sequence[LiveSources], request: CaptureRequest) -> Iterator[tuple[LiveSources, CaptureRequest]]:
    """Yield the namespaces with devices to capture; without any the usual ones of the shown namespace are meant."""
    shown, *others = watched
    parts: dict[int, list[str]] = {}
    for name in request.devices:
        device = name.rpartition(_AT)[0]
        at = next((at for at, each in enumerate(others, 1) if device and _named(device, each.netns) == name), 0)
        parts.setdefault(at, []).append(device if at else name)
    for at, names in (parts or {0: []}).items():
        yield (shown, *others)[at], replace(request, devices=tuple(names))
