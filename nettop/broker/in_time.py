"""Opening a file in a thread: its file system may never answer, and the broker has to."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

_SECONDS = 2.0
_MAX_STUCK = 4  # threads that wait for a file system
_stuck = threading.BoundedSemaphore(_MAX_STUCK)


def open_in_time(open_file: Callable[[], int], seconds: float = _SECONDS) -> int:
    """Return the descriptor that `open_file` opens. Raises its error; TimeoutError: it takes longer."""
    if not _stuck.acquire(blocking=False):
        raise TimeoutError
    results: list[int | Exception] = []
    lock, is_abandoned = threading.Lock(), False

    def work() -> None:
        try:
            result: int | Exception = open_file()
        except (OSError, ValueError) as error:
            result = error
        with lock:
            results.append(result)
            if is_abandoned and isinstance(result, int):
                os.close(result)
        _stuck.release()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    with lock:
        is_abandoned = not results
    if is_abandoned:
        raise TimeoutError
    if isinstance(results[0], int):
        return results[0]
    raise results[0]
