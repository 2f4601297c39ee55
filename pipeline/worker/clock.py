"""The broker's clock, estimated from the worker's own: deadlines count in broker time.

Every record of a slot carries the time at which the broker appended it, and is read later than that. The smallest
difference seen is the difference of the clocks plus the shortest transit, so the estimate never runs ahead of the
broker: a request may be ended a few milliseconds late, never early. Stations in rows and records are in the worker's
own clock.
"""

from typing import Final

WINDOW_MS: Final = 60_000
"""After one to two of these a smaller difference is forgotten, so that the estimate follows clocks that drift."""


class BrokerClock:
    """Own clock minus the smallest difference to broker time in the last one to two windows. Milliseconds."""

    __slots__ = ("_current", "_previous", "_window_began_ms")

    def __init__(self) -> None:
        self._current: int | None = None
        self._previous: int | None = None
        self._window_began_ms = 0

    def observe(self, broker_ms: int, own_ms: int) -> None:
        """A record that the broker appended at `broker_ms` was read at `own_ms`."""
        if own_ms - self._window_began_ms >= WINDOW_MS:
            self._previous, self._current = self._current, None
            self._window_began_ms = own_ms
        difference = own_ms - broker_ms
        if self._current is None or difference < self._current:
            self._current = difference

    @property
    def difference_ms(self) -> int:
        """Own time minus broker time; 0 while nothing was observed."""
        known = [difference for difference in (self._current, self._previous) if difference is not None]
        return min(known, default=0)

    def broker_ms(self, own_ms: int) -> int:
        """Broker time at the own time `own_ms`."""
        return own_ms - self.difference_ms
