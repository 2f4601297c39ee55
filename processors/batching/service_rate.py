"""How many requests a second were released while others had to wait: the service rate as it is, not as it should be."""

import math
from typing import Final

MEMORY_S: Final = 5.0
MIN_BACKLOGGED_S: Final = 0.5
"""With less backlogged time in memory nothing is known."""
MIN_RELEASED: Final = 1.0
"""With fewer releases in memory neither: while workers change nothing is released, and that is no rate to expect."""


class ServiceRate:
    """Releases over backlogged time, both decaying with a time constant of 5 s of backlogged time."""

    __slots__ = ("_backlogged_s", "_is_backlogged", "_released", "_since_s")

    def __init__(self) -> None:
        self._released = 0.0
        self._backlogged_s = 0.0
        self._is_backlogged = False
        self._since_s = 0.0

    @property
    def per_s(self) -> float | None:
        """Requests per second, None where not enough has waited, or was released, of late."""
        is_known = self._backlogged_s > MIN_BACKLOGGED_S and self._released >= MIN_RELEASED
        return self._released / self._backlogged_s if is_known else None

    def elapse(self, now_s: float) -> None:
        """Time has passed since `decided`; where it went back, nothing has until it is where it was."""
        elapsed_s = max(0.0, now_s - self._since_s)
        self._since_s = max(self._since_s, now_s)
        if self._is_backlogged:
            decay = math.exp(-elapsed_s / MEMORY_S)
            self._released *= decay
            self._backlogged_s = self._backlogged_s * decay + elapsed_s

    def decided(self, *, released: int, is_backlogged: bool) -> None:
        """So many were released just now, and whether others still wait.

        Those that end a backlog count as well: short backlogs would seem to be served slowly otherwise.
        """
        if is_backlogged or self._is_backlogged:
            self._released += released
        self._is_backlogged = is_backlogged
