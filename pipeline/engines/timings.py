"""What an engine has timed: steps or batches since the last call, and what it timed while it warmed up.

Bounded: of regular work only the newest are kept, because more of the same teaches nothing. What was timed during the
warm-up is told completely, some of it with each call: it is all that is known of sizes that have not come up yet.
"""

from collections import deque

from pipeline.engines.protocol import Timings
from topics.fleet import MAX_SAMPLES, BatchTiming, StepSample

_NONE = Timings()


class TimingLog:
    """Keeps timings until they are taken."""

    __slots__ = ("_batches", "_steps", "_warm_up")

    def __init__(self) -> None:
        self._warm_up: deque[StepSample | BatchTiming] = deque()
        self._steps: deque[StepSample] = deque(maxlen=MAX_SAMPLES)
        self._batches: deque[BatchTiming] = deque(maxlen=MAX_SAMPLES)

    def add(self, timing: StepSample | BatchTiming) -> None:
        """A step or batch of regular work."""
        if isinstance(timing, StepSample):
            self._steps.append(timing)
        else:
            self._batches.append(timing)

    def add_warm_up(self, timing: StepSample | BatchTiming) -> None:
        """A step or batch of the warm-up; few."""
        self._warm_up.append(timing)

    def take(self) -> Timings:
        """At most `MAX_SAMPLES` of each kind, in the order in which they ended; what was taken is forgotten."""
        if not (self._steps or self._batches or self._warm_up):
            return _NONE
        if self._warm_up:
            return self._some_of_warm_up()
        taken = Timings(steps=tuple(self._steps), batches=tuple(self._batches))
        self._steps.clear()
        self._batches.clear()
        return taken

    def _some_of_warm_up(self) -> Timings:
        some = [self._warm_up.popleft() for _ in range(min(MAX_SAMPLES, len(self._warm_up)))]
        return Timings(
            steps=tuple(timing for timing in some if isinstance(timing, StepSample)),
            batches=tuple(timing for timing in some if isinstance(timing, BatchTiming)),
        )
