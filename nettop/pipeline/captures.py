"""The captures of one namespace: a ring for each device that is requested, also for those that come later."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeAlias

from nettop.batch import Batch, Stream
from nettop.broker.client import Broker
from nettop.broker.requests import CaptureDevice, Netns, PacketSocket
from nettop.errors import BrokerError, FilterError, NettopError
from nettop.kinds import StreamKind
from nettop.pipeline.ingest import Plumbing
from nettop.pipeline.source_thread import SourceThread
from nettop.text.sanitize import clean
from nettop.text.units import listed

if TYPE_CHECKING:
    from nettop.sources.packet_filter import PacketFilter
    from nettop.sources.ring import PacketRing

MAX_SNAPLEN = 262_144
ANY = "any"  # every device that is up, as for tcpdump
_LOOPBACK = "lo"
_DRAIN_NS = 60_000_000  # a ring's open block is retired after at most 50 ms
_PATTERN = frozenset("*?[")

OpenRing: TypeAlias = "tuple[Stream, PacketRing]"


@dataclass(frozen=True, slots=True)
class CaptureRequest:
    """Devices, libpcap's filter, and the bytes kept of each packet.

    `devices` are names, patterns (fnmatch(3)) or "any"; (): every device that is up, loopback only if no other is.
    """

    devices: tuple[str, ...] = ()
    expression: str = ""
    snaplen: int = MAX_SNAPLEN
    headers: bool = False  # only for the rates of flows

    def chosen(self, present: Sequence[CaptureDevice]) -> list[CaptureDevice]:
        """Return those of the present devices that are to be captured now."""
        up = [device for device in present if device.up]
        if not self.devices:
            return [device for device in up if device.name != _LOOPBACK] or up
        names = {device.name for device in present}
        chosen = [device for device in present if device.name in self.devices]
        for word in dict.fromkeys(self.devices):
            if word not in names:
                chosen += [device for device in up if word == ANY or fnmatchcase(device.name, word)]
        return list(dict.fromkeys(chosen))

    def check(self, present: Sequence[CaptureDevice]) -> None:
        """Raise BrokerError for a name that no device has. A pattern may match later."""
        names = [device.name for device in present]
        for word in self.devices:
            if word not in names and word != ANY and _PATTERN.isdisjoint(word):
                raise BrokerError(f"no device {word!r}", f"there are {listed([*map(clean, names)])}")


class Captures:
    """The running rings of one namespace. `report` gets what a person should know, on the thread that found it.

    `open`, `run`, `stop` and `follow` may be called on several threads: one at a time goes on.
    """

    def __init__(self, broker: Broker, netns: Netns, plumbing: Plumbing) -> None:
        self.report: Callable[[str], None] = lambda text: None
        self._broker, self._netns, self._plumbing = broker, netns, plumbing
        self._changing = threading.Lock()  # held during requests to the broker
        self._lock = threading.Lock()  # of `_threads` and `_closed`
        self._threads: dict[int, tuple[str, SourceThread]] = {}  # by ifindex: the device's name and its ring's thread
        self._closed = False
        self._number = 0  # of the captures so far
        self._request: CaptureRequest | None = None
        self._refused: set[int] = set()  # ifindexes of devices that the filter does not fit

    def names(self) -> tuple[str, ...]:
        """Return the names of the devices that are being captured."""
        return tuple(name for name, thread in list(self._threads.values()) if thread.is_alive())

    def open(self, request: CaptureRequest, number: int = 0) -> list[OpenRing]:
        """Return the open rings of a new capture, for run() or close_rings(); they already fill.

        Captures of several namespaces with the same `number` are one; 0: the next of this one.

        A device that the filter does not fit is reported. NettopError, and no ring, if it fits none, if a device does
        not exist, or if a ring cannot be opened.
        """
        present = self._broker.devices(self._netns)
        request.check(present)
        self._number = number or self._number + 1
        rings: list[OpenRing] = []
        refused: dict[CaptureDevice, FilterError] = {}
        try:
            for device in request.chosen(present):
                try:
                    rings.append(self._ring(device.name, request))
                except FilterError as error:
                    refused[device] = error
                except BrokerError:
                    if device.name in request.devices or device in self._broker.devices(self._netns):
                        raise
            if refused and not rings:
                raise next(iter(refused.values()))
        except BaseException:
            close_rings(rings)
            raise
        self._refused = set()
        for device, reason in refused.items():
            self._refuse(device, reason)
        return rings

    def run(self, request: CaptureRequest, rings: Sequence[OpenRing]) -> None:
        """Read these rings, and from now on those of devices that come, in place of a running capture."""
        with self._changing:
            self._end()
            self._request = request
            self._start(rings)

    def stop(self) -> None:
        """End every ring."""
        with self._changing:
            self._request = None
            self._end()

    def halt(self) -> None:
        """Stop every ring without waiting; none can start afterwards. From any thread."""
        with self._lock:
            self._closed = True
            for _, thread in self._threads.values():
                thread.stop()

    def close(self) -> None:
        """End every ring; none can start afterwards."""
        self.halt()
        self._end()

    def follow(self, batch: Batch) -> None:
        """Capture devices that have come up, from a batch of rtnetlink events."""
        request = self._request
        if request is None:
            return
        from nettop.decode.rtnetlink import decode_rtnetlink

        up = [link for link in decode_rtnetlink(batch).links if link.up]
        if any(link.ifindex not in self._refused and not self._runs(link.ifindex) for link in up):
            self.look()

    def look(self) -> None:
        """Capture the requested devices that are not captured yet, and report each."""
        with self._changing:
            request = self._request
            if request is None or self._closed:
                return
            try:
                present = self._broker.devices(self._netns)
            except NettopError:  # the namespace or the broker is gone, which ends everything
                return
            for device in request.chosen(present):
                if device.up and device.ifindex not in self._refused and not self._runs(device.ifindex):
                    self._add(device, request)

    def _add(self, device: CaptureDevice, request: CaptureRequest) -> None:
        try:
            ring = self._ring(device.name, request)
        except NettopError as error:
            self._refuse(device, error)
            return
        self._start([ring])
        self.report(f"device {clean(device.name)} is up: captured from now on")

    def _refuse(self, device: CaptureDevice, error: NettopError) -> None:
        self._refused.add(device.ifindex)
        self.report(f"device {clean(device.name)} is not captured: {error.message}")

    def _ring(self, name: str, request: CaptureRequest) -> OpenRing:
        from nettop.sources.ring import PacketRing

        sock = self._broker.packet_socket(self._netns, name, expression=request.expression, snaplen=request.snaplen)
        stream = Stream(
            self._plumbing.stream_id(),
            StreamKind.PACKETS,
            sock.device.name,
            self._netns.label,
            sock.linktype,
            request.snaplen,
            request.expression,
            f"{platform.system()} {platform.release()}",
            sock.device.ifindex,
            capture=self._number,
            headers=request.headers,
        )
        return stream, PacketRing(stream, sock, self._plumbing.seq, self._user_filter(sock, request))

    def _user_filter(self, sock: PacketSocket, request: CaptureRequest) -> PacketFilter | None:
        """Return the filter to run here if the kernel refuses it."""
        if sock.filtered:
            return None
        from nettop.sources.packet_filter import PacketFilter

        try:
            found = PacketFilter(sock.linktype, request.expression, request.snaplen)
        except NettopError:
            os.close(sock.fd)
            raise
        self.report(f"{clean(sock.device.name)}: the kernel cannot run this filter; nettop runs it, which costs more")
        return found

    def _start(self, rings: Sequence[OpenRing]) -> None:
        for stream, ring in rings:
            thread = self._plumbing.start(ring, f"ring-{stream.name}", drain_ns=_DRAIN_NS, stream=stream.id)
            with self._lock:
                self._threads[stream.ifindex] = stream.name, thread
                if self._closed:
                    thread.stop()

    def _runs(self, ifindex: int) -> bool:
        running = self._threads.get(ifindex)
        return running is not None and running[1].is_alive()

    def _end(self) -> None:
        """End all rings, and forget them."""
        with self._lock:
            threads = [thread for _, thread in self._threads.values()]
            self._threads.clear()
        self._plumbing.stop(threads)


def close_rings(rings: Sequence[OpenRing]) -> None:
    """Close rings that are not being read."""
    for _, ring in rings:
        ring.close()
