"""The requests of a table to its session: one at a time, and outdated answers are ignored."""

from __future__ import annotations

import time
from collections.abc import Callable

from nettop.model.table import Snapshot, ViewSpec
from nettop.session.base import Session

TIMEOUT = 2.0  # seconds after which a request without an answer is sent again
AGE_INTERVAL = 2.0  # seconds between requests when only the time has changed
RETRIES = 3  # requests in a row for an anchor that moves out of the window, before the next tick

Post = Callable[..., None]  # post(function, *args): run it on the UI's loop, called from any thread


class SnapshotRequests:
    """Requests snapshots for `spec` (None: no request now). `apply` gets one and returns True to request another."""

    def __init__(
        self,
        view: str,
        session: Session,
        post: Post,
        spec: Callable[[], ViewSpec | None],
        apply: Callable[[Snapshot], bool],
    ) -> None:
        self._view, self._session, self._post = view, session, post
        self._spec, self._apply = spec, apply
        self._generation = 0
        self._pending_since: float | None = None
        self._last_sent = 0.0
        self._version = -1  # of the data that is requested or shown
        self._again = False
        self._retries = 0

    def ask(self) -> None:
        """Send a request; while one is pending, send the next after its answer."""
        now = time.monotonic()
        if self._pending_since is not None and now - self._pending_since < TIMEOUT:
            self._again = True
            return
        spec = self._spec()
        if spec is None:
            return
        self._pending_since = self._last_sent = now
        generation = self._generation
        self._session.ask(self._view, spec, lambda snapshot: self._post(self._arrived, generation, snapshot))

    def moved(self) -> None:
        """Send a request after a movement of the cursor, with all retries available again."""
        self._retries = 0
        self.ask()

    def tick(self) -> bool:
        """Send a request if the data has changed, at least every AGE_INTERVAL seconds. Return True if it was sent."""
        self._retries = 0
        version = self._session.version(self._view)
        if version == self._version and time.monotonic() - self._last_sent < AGE_INTERVAL:
            return False
        self._version = version
        self.ask()
        return True

    def void(self) -> None:
        """Ignore the answers to all earlier requests."""
        self._generation += 1

    def _arrived(self, generation: int, snapshot: Snapshot) -> None:
        self._pending_since = None
        again, self._again = self._again, False
        if generation == self._generation:
            self._version = snapshot.version
            incomplete = self._apply(snapshot)
            self._retries += incomplete
            again = again or (incomplete and self._retries <= RETRIES)
        else:
            again = True
        if again:
            self.ask()
