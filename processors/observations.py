"""Figures of the lanes for people, from what a scheduler decided of late. Decides nothing; pure."""

from collections import deque
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Final

from processors.batching.controller import Batch, Controller, Decision
from processors.queueing.lane import LaneQueue
from processors.routing.fleet import Worker
from topics.fleet import LaneFigures

KEPT: Final = 64
"""Batches of a class whose sizes are remembered."""


class Observations:
    """Remembers the sizes of the batches of late, and whether the last decision was to wait though there was room."""

    def __init__(self) -> None:
        self._sizes: dict[str, deque[int]] = {}
        self._is_deferring = False

    def on_decision(self, decision: Decision) -> None:
        """The controller has decided."""
        self._is_deferring = decision.deferral is not None and decision.deferral.has_room
        for batch in decision.batches:
            self._count(batch)

    def figures(
        self,
        lanes: Mapping[str, LaneQueue],
        controller: Controller,
        *,
        running: Iterable[Worker] | None,
        now_s: float,
    ) -> list[LaneFigures]:
        """All lanes, the most urgent class first.

        Args:
            lanes: queues by class.
            controller: knows the model.
            running: workers, where what they run is the batch; None where batches are what is dispatched.
            now_s: broker time in seconds since the epoch.
        """
        size = None if running is None else _median([worker.heartbeat.running for worker in running])
        return [self._lane(name, lane, controller, size, now_s) for name, lane in lanes.items()]

    def _lane(self, name: str, lane: LaneQueue, controller: Controller, size: int | None, now_s: float) -> LaneFigures:
        view = controller.view(name, now_s=now_s)
        due_ms = lane.earliest_due_ms()
        return LaneFigures(
            latency_class=name,
            queued=len(lane),
            slack_ms=None if due_ms is None else due_ms - round(now_s * 1000),
            arrivals_per_s=round(view.arrivals_per_s, 3),
            batch_size=_median(self._sizes.get(name, ())) if size is None else size,
            size_limit=view.size_limit,
            saturation=round(view.saturation, 4),
            model_error_ratio=round(view.model_error_ratio, 4),
            is_paused=lane.is_paused,
            is_deferring=self._is_deferring and len(lane) > 0,
        )

    def _count(self, batch: Batch) -> None:
        for name in {part.ticket.latency_class for part in batch.parts}:
            sizes = self._sizes.get(name)
            if sizes is None:
                sizes = self._sizes[name] = deque(maxlen=KEPT)
            sizes.append(len(batch.parts))


def _median(numbers: Iterable[int]) -> int:
    known = list(numbers)
    return round(median(known)) if known else 0
