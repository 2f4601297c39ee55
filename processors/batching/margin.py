"""How much earlier than its target a request that waits has to be expected, so that those who are let in are in time.

Under overload the queue is as long as predictions allow, and everybody who is let in is in time just so, or just not:
steps differ, and prompts come together. So part of the target is kept free on arrival. It grows when one that was let
in is late after all, dropped or answered late, and shrinks slowly when they are in time: the online estimate of a
quantile. Who is refused for it would have been the last of a queue that is never empty under overload: engines have as
much to do as before.
"""

from typing import Final

MOST: Final = 0.5
"""Of the target."""
GAIN: Final = 0.03
LATE_RATIO: Final = 0.02
"""Of those that are let in, so many may be late in the long run."""


class Margin:
    """Of one class.

    Attributes:
        ratio: part of the target, between 0 and `MOST`.

    Source: Robbins and Monro, A stochastic approximation method (1951), for a quantile.
    """

    __slots__ = ("ratio",)

    def __init__(self) -> None:
        self.ratio = 0.0

    def observe(self, *, is_late: bool) -> None:
        """A request that was let in had its answer in time, or not."""
        moved = self.ratio + GAIN * (is_late - LATE_RATIO)
        self.ratio = min(max(moved, 0.0), MOST)
