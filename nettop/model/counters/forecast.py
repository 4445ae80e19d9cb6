"""Forecasts of when a limit is reached, from the trend of the last readings; none unless the trend clearly rises."""

from __future__ import annotations

from collections import deque

from nettop.text.units import ABSENT, scaled

_SECOND = 1_000_000_000
_WINDOW_NS = 30 * _SECOND  # the trend covers the last 30 s,
_MIN_READINGS = 3  # at least so many readings,
_MIN_NS = 2 * _SECOND  # and at least this time
_MAX_READINGS = 256  # readings kept: with more than 8 a second the window is shorter
_CERTAIN = 3.0  # the slope must exceed 0 by so many standard errors: noise around a mean is no trend
_HORIZON_S = 30 * 86_400.0  # limits that are farther away are not forecast


class Trend:
    """The slope of a gauge's last readings by least squares."""

    def __init__(self) -> None:
        self._points: deque[tuple[int, int]] = deque(maxlen=_MAX_READINGS)

    def add(self, ts_ns: int, value: int) -> None:
        """Add a reading. One that is not later than the last replaces all earlier ones."""
        if self._points and ts_ns <= self._points[-1][0]:
            self._points.clear()
        self._points.append((ts_ns, value))
        while ts_ns - self._points[0][0] > _WINDOW_NS and len(self._points) > _MIN_READINGS:
            self._points.popleft()

    def rising(self) -> float | None:
        """Return the slope per second; None when it falls, is flat, or too little is known."""
        count = len(self._points)
        if count < _MIN_READINGS or self._points[-1][0] - self._points[0][0] < _MIN_NS:
            return None
        first_ns, first = self._points[0]
        times = [(ts_ns - first_ns) / _SECOND for ts_ns, _ in self._points]
        values = [value - first for _, value in self._points]
        mean_t, mean_v = sum(times) / count, sum(values) / count
        spread = sum((t - mean_t) ** 2 for t in times)
        slope = sum((t - mean_t) * (v - mean_v) for t, v in zip(times, values, strict=True)) / spread
        rest = sum((v - mean_v - slope * (t - mean_t)) ** 2 for t, v in zip(times, values, strict=True))
        error = (rest / (count - 2) / spread) ** 0.5
        return slope if slope > _CERTAIN * error else None

    def seconds_to(self, limit: int) -> float | None:
        """Return the seconds from the last reading until the limit is reached; None when it is not in sight."""
        slope = self.rising()
        if slope is None:
            return None
        seconds = max(0, limit - self._points[-1][1]) / slope
        return seconds if seconds <= _HORIZON_S else None


def forecast(trend: Trend | None, limit: int | None) -> str:
    """Return `~12 min at +310/s`; `–` when the value does not clearly rise towards its limit."""
    seconds = None if trend is None or not limit else trend.seconds_to(limit)
    if trend is None or seconds is None:
        return ABSENT
    return f"~{rounded_time(seconds)} at +{scaled(trend.rising())}/s"


def rounded_time(seconds: float) -> str:
    """Return a duration rounded for people: `40 s`, `12 min`, `5 h`, `3 days`."""
    for unit, size, until in (("s", 1, 90), ("min", 60, 5400), ("h", 3600, 172_800)):
        if seconds < until:
            return f"{round(seconds / size)} {unit}"
    return f"{round(seconds / 86_400)} days"
