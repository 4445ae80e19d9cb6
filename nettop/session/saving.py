"""The recording that a session makes: its start, its end, and what the header says of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from nettop.batch import Counter64
from nettop.broker.client import Broker
from nettop.errors import NettopError
from nettop.pipeline.ingest import Plumbing
from nettop.pipeline.recorder import Recorder
from nettop.recording.writer import RecordingWriter
from nettop.session import exports
from nettop.text.units import scaled


class Saving:
    """At most one recording at a time. `note` is called with its failure, on the recorder's thread."""

    def __init__(self, seq: Counter64, note: Callable[[str], None]) -> None:
        self.recorder: Recorder | None = None
        self.failure = ""  # of the last recording, in one line
        self._seq, self._note = seq, note
        self._writer: RecordingWriter | None = None
        self._since = 0.0

    def start(self, path: str, services: Broker | None, plumbing: Plumbing) -> None:
        """Record to a new file in place of the one before. Raises InputError, BrokerError."""
        path = exports.save_path(path)
        descriptor = exports.open_output(services, path)
        with suppress(NettopError):  # the header has shown the failure of the one before
            self.stop(plumbing)
        self._writer = RecordingWriter(descriptor, name=path)
        self.recorder = Recorder(self._writer, self._seq, self._ended)
        self._since, self.failure = time.monotonic(), ""
        plumbing.record(self.recorder)

    def stop(self, plumbing: Plumbing) -> None:
        """End the recording. Raises NettopError if the end of it could not be written."""
        recorder, self.recorder = self.recorder, None
        plumbing.stop_recording()
        if recorder is not None:
            recorder.close()

    def text(self) -> str:
        """Return its duration and size for the header; "" without one."""
        if self.recorder is None or self._writer is None or self.recorder.error:
            return ""
        minutes, seconds = divmod(int(time.monotonic() - self._since), 60)
        return f"{minutes:02d}:{seconds:02d} {scaled(self._writer.written)}"

    def _ended(self, reason: str) -> None:
        self.failure = f"the recording stopped: {reason}"
        self._note(self.failure)
