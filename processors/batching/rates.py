"""How many requests a lane gets per second: steady when the load is, quick when it changes."""

import math
from typing import Final

SLOW_S: Final = 1.0
FAST_S: Final = 0.1
_BAND: Final = 2.0
"""The slow estimate may be so many standard deviations away from the fast one before it is taken to be out of date."""


class ArrivalRate:
    """Two exponentially decayed counts, of about the last second and of about the last tenth of it.

    Attributes:
        last_s: when the last arrival came.
    """

    def __init__(self) -> None:
        self._slow = 0.0
        self._fast = 0.0
        self._at_s = 0.0
        self.last_s = -math.inf

    def add(self, now_s: float) -> None:
        """One arrival."""
        self._decay(now_s)
        self._slow += 1.0
        self._fast += 1.0
        self.last_s = now_s

    def per_s(self, now_s: float) -> float:
        """Arrivals per second: the slow estimate, clamped into the two-sigma band of the fast one.

        A decayed count of a Poisson process at rest has half its mean as variance (shot noise, Campbell's theorem).
        """
        self._decay(now_s)
        fast = self._fast / FAST_S
        band = _BAND * math.sqrt(0.5 * max(self._fast, 0.5)) / FAST_S
        return min(max(self._slow / SLOW_S, fast - band), fast + band)

    def _decay(self, now_s: float) -> None:
        elapsed_s = now_s - self._at_s
        if elapsed_s > 0:
            self._slow *= math.exp(-elapsed_s / SLOW_S)
            self._fast *= math.exp(-elapsed_s / FAST_S)
            self._at_s = now_s
