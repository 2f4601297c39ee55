"""When a worker must not go on: an engine that makes no step, an owner that is fenced again and again. Pure.

Seconds are of a monotonic clock. What follows from an answer is done elsewhere: `pipeline.worker.supervisor` kills the
engine, `pipeline.worker.shell` ends the worker.
"""

from typing import Final

FENCED_WITHIN_S: Final = 10.0
"""Fenced twice in so long: the worker cannot keep up with its group, and every other turn costs its requests a move."""


class StepWatch:
    """Notices an engine that has sequences and makes no step.

    Args:
        limit_s: for so long at most a step may last.
        now_s: when the watch begins.
    """

    __slots__ = ("_last_s", "_longest_s", "_seen", "_still_s", "limit_s")

    def __init__(self, limit_s: float, *, now_s: float) -> None:
        self.limit_s = limit_s
        self._longest_s = limit_s / 4
        self._last_s = now_s
        self._seen = 0
        self._still_s = 0.0

    def is_stuck(self, *, steps: int, sequences: int, now_s: float) -> bool:
        """Whether the limit has passed since the last step, or since there was nothing to do.

        Ask at least four times within the limit. Of a longer time between two calls only a quarter of the limit counts:
        it is the worker that was stopped, and what its engine did meanwhile it has not seen yet.

        Args:
            steps: any number that grows with each step.
            sequences: that the engine has.
            now_s: the time.
        """
        self._still_s += min(now_s - self._last_s, self._longest_s)
        self._last_s = now_s
        if steps != self._seen or not sequences:
            self._seen = steps
            self._still_s = 0.0
        return self._still_s >= self.limit_s


class FenceWatch:
    """Counts how often the group has put the worker out while it owned slots.

    Slots that move in good order, with the worker taking part, do not count.
    """

    __slots__ = ("_last_s",)

    def __init__(self) -> None:
        self._last_s = float("-inf")

    def on_fenced(self, now_s: float) -> bool:
        """It was put out: whether it is time to end."""
        is_again = now_s - self._last_s <= FENCED_WITHIN_S
        self._last_s = now_s
        return is_again
