"""The system log of the broker: refused requests, at most a few a minute, since an app may make a thousand a second."""

from __future__ import annotations

import syslog
import time
from collections.abc import Callable

PER_MINUTE = 10


class Journal:
    """Logs refusals. Those above PER_MINUTE are counted, and the count is logged with the next one."""

    def __init__(
        self, log: Callable[[int, str], None] = syslog.syslog, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log, self._clock = log, clock
        self._began = clock()
        self._logged = self._withheld = 0

    def refused(self, text: str) -> None:
        """Log a refused request."""
        now = self._clock()
        if now - self._began >= 60:
            self._began, self._logged = now, 0
        if self._logged >= PER_MINUTE:
            self._withheld += 1
            return
        self._logged += 1
        more = f" ({self._withheld} more were refused before)" if self._withheld else ""
        self._withheld = 0
        self._log(syslog.LOG_AUTH | syslog.LOG_WARNING, f"refused: {text}"[:500] + more)
