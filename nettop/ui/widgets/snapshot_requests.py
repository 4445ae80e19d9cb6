"""What a table asks its session: one question on its way at a time, and only answers that still count are taken."""

from __future__ import annotations

import time
from collections.abc import Callable

from nettop.model.table import Snapshot, ViewSpec
from nettop.session.interface import Session

GIVE_UP = 2.0  # seconds after which an unanswered question is asked again
AGES_EVERY = 2.0  # seconds between questions when nothing but the time has changed
RETRIES = 3  # times a moving anchor is run after before the next tick

Post = Callable[..., None]  # post(function, *args): run it on the UI's loop, from any thread


class Questions:
    """Asks for what `spec` says (None: not now); `answered` takes a snapshot and says whether it wants another."""

    def __init__(
        self,
        view: str,
        session: Session,
        post: Post,
        spec: Callable[[], ViewSpec | None],
        answered: Callable[[Snapshot], bool],
    ) -> None:
        self._view, self._session, self._post = view, session, post
        self._spec, self._answered = spec, answered
        self._generation = 0
        self._asked_at: float | None = None
        self._asked_last = 0.0
        self._version = -1  # of what is asked for or shown
        self._again = False
        self._retries = 0

    def ask(self) -> None:
        """Ask; while a question is on its way the next one follows its answer."""
        now = time.monotonic()
        if self._asked_at is not None and now - self._asked_at < GIVE_UP:
            self._again = True
            return
        spec = self._spec()
        if spec is None:
            return
        self._asked_at = self._asked_last = now
        generation = self._generation
        self._session.ask(self._view, spec, lambda snapshot: self._post(self._arrived, generation, snapshot))

    def moved(self) -> None:
        """A person moved: what is asked now may be run after anew."""
        self._retries = 0
        self.ask()

    def tick(self) -> bool:
        """Ask where there may be something new; ages are drawn every two seconds. Returns whether it asked."""
        self._retries = 0
        version = self._session.version(self._view)
        if version == self._version and time.monotonic() - self._asked_last < AGES_EVERY:
            return False
        self._version = version
        self.ask()
        return True

    def void(self) -> None:
        """Something else is wanted from now on: answers to what was asked before no longer count."""
        self._generation += 1

    def _arrived(self, generation: int, snapshot: Snapshot) -> None:
        self._asked_at = None
        again, self._again = self._again, False
        if generation == self._generation:
            self._version = snapshot.version
            wanting = self._answered(snapshot)
            self._retries += wanting
            again = again or (wanting and self._retries <= RETRIES)
        else:
            again = True
        if again:
            self.ask()
