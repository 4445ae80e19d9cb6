"""The session on a file: the same models, fed by a recording."""

from __future__ import annotations

import os
import stat

from nettop.model.packets import PacketModel
from nettop.pipeline.session import Session
from nettop.pipeline.threads import SourceThread
from nettop.sources.replay import ReplaySource


class ReplaySession(Session):
    """Shows a capture or recording ("-": stdin). InputError when it is none. Open it before privileges are dropped."""

    def __init__(self, path: str, speed: float | None = None, mode: str = "REPLAY") -> None:
        super().__init__(None, live=False, mode=mode)
        run = self._run
        self._source = ReplaySource(path, speed, counter=self._seq, stream_id=self._ids.next)
        self._kept = os.open(path, os.O_RDONLY | os.O_CLOEXEC) if _seekable(path) else -1
        if self._kept >= 0:
            run.engine.read_packets_with(PacketModel(opener=lambda name: os.dup(self._kept)))
        self._thread: SourceThread | None = None

    def start(self) -> None:
        """Begin to read (threads start here, after the drop)."""
        self._run.start()
        self._thread = self._run.plumbing.start(self._source, "replay", wait=True)

    def pause(self, on: bool) -> None:
        """Hold the replay's clock."""
        super().pause(on)
        if on:
            self._source.pause()
        else:
            self._source.resume()
        if self._thread is not None:
            self._thread.wake()

    def close(self) -> None:
        """End everything."""
        super().close()
        if self._kept >= 0:
            os.close(self._kept)


def _seekable(path: str) -> bool:
    return path != "-" and stat.S_ISREG(os.stat(path).st_mode)
