"""The time at the beginning of a line, in the formats that tcpdump (-t … -ttttt) and Wireshark (-t a, ad, …) offer."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from nettop.batch import Array
from nettop.errors import UsageError
from nettop.kinds import NO_TIME
from nettop.text.units import ABSENT

FORMATS = ("auto", "time", "date", "utc", "utc-date", "epoch", "delta", "relative", "none")
ALIASES = {
    **{"t": "none", "tt": "epoch", "ttt": "delta", "tttt": "date", "ttttt": "relative"},  # of tcpdump
    **{"a": "time", "ad": "date", "u": "utc", "ud": "utc-date", "e": "epoch"},  # of Wireshark and tshark
    **{"d": "delta", "dd": "delta", "r": "relative"},
}
_PATTERNS = {
    "time": ("%H:%M:%S", time.localtime),
    "date": ("%Y-%m-%d %H:%M:%S", time.localtime),
    "utc": ("%H:%M:%S", time.gmtime),
    "utc-date": ("%Y-%m-%d %H:%M:%S", time.gmtime),
}
_SECOND = 1_000_000_000
_CACHED = 4_096  # texts of seconds


class TimeTexts:
    """The times of lines in one format; keeps what later lines need of earlier ones.

    "auto" is the time of day, with the date as soon as the lines span several days.
    """

    def __init__(self, form: str = "auto") -> None:
        """Begin with no lines. `form` is one of FORMATS or ALIASES. UsageError for another one."""
        self._form = ALIASES.get(form, form)
        if self._form not in FORMATS:
            raise UsageError(f"no time format {form!r}", f"one of {' '.join(FORMATS[1:])}")
        self._first: int | None = None
        self._before: int | None = None
        self._seconds: dict[int, str] = {}

    def __call__(self, ts_ns: Array, digits: int) -> list[str]:
        """Return the text of each time, in the order of the lines, with that many decimals. "none": empty texts."""
        if self._form == "none" or not len(ts_ns):
            return [""] * len(ts_ns)
        absent = ts_ns == NO_TIME
        known = ts_ns[~absent] if absent.any() else ts_ns
        texts = self._texts(known, digits) if len(known) else []
        if len(known) < len(ts_ns):
            rest = iter(texts)
            texts = [ABSENT if missing else next(rest) for missing in absent.tolist()]
        return texts

    def _texts(self, ts_ns: Array, digits: int) -> list[str]:
        if self._first is None:
            self._first = int(ts_ns[0])
        if self._form == "auto" and self._spans_days(ts_ns):
            self._form, self._seconds = "date", {}
        if self._form == "delta":
            before = np.concatenate(([int(ts_ns[0]) if self._before is None else self._before], ts_ns[:-1]))
            self._before = int(ts_ns[-1])
            return _signed(ts_ns - before, digits)
        if self._form == "relative":
            return _signed(ts_ns - np.int64(self._first), digits)
        if self._form == "epoch":
            return _signed(ts_ns, digits)
        pattern, broken_down = _PATTERNS["time" if self._form == "auto" else self._form]
        seconds, parts = np.divmod(ts_ns, _SECOND)
        template = f"%s.%0{digits}d"
        texts = [self._second(second, pattern, broken_down) for second in seconds.tolist()]
        return list(map(template.__mod__, zip(texts, (parts // 10 ** (9 - digits)).tolist(), strict=True)))

    def _spans_days(self, ts_ns: Array) -> bool:
        days = {_day(int(at)) for at in (self._first, ts_ns.min(), ts_ns.max()) if at is not None}
        return len(days) > 1

    def _second(self, second: int, pattern: str, broken_down: Callable[[float], time.struct_time]) -> str:
        text = self._seconds.get(second)
        if text is None:
            if len(self._seconds) >= _CACHED:
                self._seconds.clear()
            try:
                text = time.strftime(pattern, broken_down(second))
            except (OverflowError, ValueError, OSError):  # a file may contain any time
                text = "??:??:??"
            self._seconds[second] = text
        return text


def _day(ts_ns: int) -> tuple[int, int] | None:
    try:
        local = time.localtime(ts_ns // _SECOND)
    except (OverflowError, ValueError, OSError):
        return None
    return local.tm_year, local.tm_yday


def _signed(ts_ns: Array, digits: int) -> list[str]:
    """Return seconds with a sign if they are negative: rounded towards zero."""
    size = np.abs(ts_ns)
    seconds, parts = np.divmod(size, _SECOND)
    template = f"%s%d.%0{digits}d"
    signs = np.where(ts_ns < 0, "-", "").tolist()
    rows = zip(signs, seconds.tolist(), (parts // 10 ** (9 - digits)).tolist(), strict=True)
    return list(map(template.__mod__, rows))
