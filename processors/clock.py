"""The broker's time, estimated from the timestamps of its records. Pure.

A record is stamped before it is received, so `timestamp - local time of receipt` is never more than the difference of
the two clocks, and for the fastest of many records it is nearly that. The largest difference of the last seconds is
taken; until records have been seen the clocks are believed to agree.
"""

from typing import Final

WINDOW_S: Final = 5.0


class BrokerClock:
    """Turns local time into broker time, both in seconds since the epoch."""

    def __init__(self) -> None:
        self._window_ends_s = 0.0
        self._before: float | None = None
        self._current: float | None = 0.0
        self._offset_s = 0.0

    def observe(self, timestamp_ms: int, *, local_s: float) -> None:
        """A record with this timestamp was received at `local_s`."""
        difference_s = timestamp_ms / 1000 - local_s
        if local_s >= self._window_ends_s:
            if self._window_ends_s:
                self._before, self._current = self._current, None
            self._window_ends_s = local_s + WINDOW_S
        if self._current is None or difference_s > self._current:
            self._current = difference_s
            self._offset_s = difference_s if self._before is None else max(difference_s, self._before)

    def now_s(self, local_s: float) -> float:
        """Broker time at `local_s`."""
        return local_s + self._offset_s
