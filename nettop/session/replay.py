"""A session on a file: the same models, fed by a recording."""

from __future__ import annotations

import os
import stat
from dataclasses import replace

from nettop.batch import StreamAdded
from nettop.broker.client import Broker
from nettop.errors import InputError
from nettop.kinds import StreamKind
from nettop.model.events.table import KEEP_EVENTS
from nettop.pipeline.source_thread import SourceThread
from nettop.recording.chunks import open_input
from nettop.recording.reader import open_reader
from nettop.session.base import Session
from nettop.session.status import Status
from nettop.sources.replay import ReplaySource

_PEEK = 1 << 16  # bytes of a file that show what is in it


class ReplaySession(Session):
    """Shows a capture or recording ("-": stdin). InputError when it cannot be opened.

    Create it before privileges are dropped and start() it afterwards: nothing of the file is read in between.
    """

    def __init__(self, path: str, speed: float | None = None, keep_events: int = KEEP_EVENTS) -> None:
        super().__init__(None, live=False, mode="REPLAY", keep_events=keep_events)
        self._path, self._speed = path, speed
        self._opened = open_input(path)
        self._packet_file = os.dup(self._opened) if stat.S_ISREG(os.fstat(self._opened).st_mode) else -1
        if self._packet_file >= 0:
            self._run.engine.keep_packets(opener=lambda name: os.dup(self._packet_file))
        self._source: ReplaySource | None = None
        self._thread: SourceThread | None = None

    def start(self, broker: Broker | None = None) -> None:
        """Begin to read (threads start here, after the drop). InputError when the file is no capture.

        `broker` (start.fork) creates exports and resolves names; without one there are none.
        """
        self._services = broker
        fd, self._opened = self._opened, -1
        self._source = ReplaySource(self._path, self._speed, counter=self._seq, stream_id=self._ids.next, fd=fd)
        if self._packet_file >= 0 and _holds_packets_only(self._packet_file, self._path):
            self.first_view = "packets"
        self._run.start()
        self._thread = self._run.plumbing.start(self._source, "replay", wait=True)

    def status(self) -> Status:
        """Return the header's facts; a paced replay says when it has reached the end of the file."""
        status = super().status()
        return replace(status, mode="REPLAY ENDED") if self._speed is not None and self._run.ended else status

    def pause(self, on: bool) -> None:
        """Stop or continue the replay's clock."""
        super().pause(on)
        if self._source is not None and self._thread is not None:
            self._source.pause(on)
            self._thread.wake()

    def close(self) -> None:
        """End every thread and close the file."""
        super().close()
        if self._services is not None:
            self._services.close()
        descriptors = self._packet_file, self._opened
        self._packet_file = self._opened = -1
        for descriptor in descriptors:
            if descriptor >= 0:
                os.close(descriptor)


def _holds_packets_only(fd: int, path: str) -> bool:
    """Return whether a file begins as a plain capture: interfaces for packets, nothing else."""
    try:
        reader = open_reader(path, fd=os.dup(fd), chunk=_PEEK)
    except InputError:
        return False  # the source reports it
    kinds = {item.stream.kind for item in reader.read() if isinstance(item, StreamAdded)}
    reader.close()
    return kinds == {StreamKind.PACKETS}
