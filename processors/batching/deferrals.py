"""That requests wait, and why, as the account tells it: now and then, or a busy day would be told twice over.

A way of batching that finds no room asks here whether that is worth a line. Decides nothing about requests.
"""

import math
from typing import Final

from processors.batching.controller import Deferral, Figures, Why

DEFERRAL_S: Final = 1.0
"""Each reason is told no more often than this."""
NO_WORKER: Final = "no_worker"
"""Reason where no worker of the deployment is ready and heard of."""


class Deferrals:
    """Of one controller."""

    def __init__(self) -> None:
        self._told_s: dict[str, float] = {}

    def is_due(self, reason: str, now_s: float) -> bool:
        """Whether a reason has not been told for long enough; from then on it has been."""
        if 0 <= now_s - self._told_s.get(reason, -math.inf) < DEFERRAL_S:
            return False
        self._told_s[reason] = now_s
        return True

    def blocked(self, reason: str, *, figures: Figures, queued: int, now_s: float) -> Deferral | None:
        """No worker has room; None if that was told a moment ago."""
        return Deferral(Why(reason, figures), queued, has_room=False) if self.is_due(reason, now_s) else None
