"""The timeline above the events: asked for once a second, as high as the screen has room for."""

from __future__ import annotations

import time

from nettop.ui.session_protocol import Session
from nettop.ui.widgets.paper import Paper
from nettop.ui.widgets.questions import Post
from nettop.ui.widgets.timeline import Seconds, timeline_lines

TALL = 28  # lines from which there is room for more than a list
ROOMY = 40  # lines from which a timeline has one for each kind
EVERY = 1.0  # seconds: a timeline is of whole ones


class Band(Paper):
    """Draws what the session says of the last minute."""

    def __init__(self, session: Session, post: Post) -> None:
        super().__init__(surface="background")
        self._session, self._post = session, post
        self._asked = 0.0

    def place(self) -> None:
        """Take the lines that this screen has for it."""
        lines = self._lines()
        self.display = lines > 0
        self.styles.height = lines
        self._asked = 0.0

    def tick(self) -> None:
        """Ask, when it is time to."""
        now = time.monotonic()
        if self.display and now - self._asked >= EVERY:
            self._asked = now
            self._session.timeline(lambda seconds: self._post(self._told, seconds))

    def _lines(self) -> int:
        height = self.app.size.height
        return 0 if height < TALL else 1 if height < ROOMY else 3

    def _told(self, seconds: Seconds) -> None:
        if self.is_attached:
            self.write(timeline_lines(seconds, self._lines(), self.app.size.width))
