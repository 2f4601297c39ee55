"""What a worker says about itself, and when: on change, at most every 20 or 40 ms, and at least every 200 ms.

The end of a batch that ran to completion is told at once.
"""

from dataclasses import dataclass, field
from typing import Final

from pipeline.engines.protocol import Load, StepCounts, Timings
from pipeline.worker.parking import NOTHING, Parkable
from pipeline.worker.rows import Identity
from topics.fleet import (
    HEARTBEAT_INTERVAL_S,
    Credits,
    EngineKind,
    EngineMode,
    Finished,
    Heartbeat,
    Limits,
    Slot,
    Steps,
    WorkerState,
)

COALESCE_S: Final = 0.02
"""Every heartbeat costs a record, a fetch and a decision at each reader; changes that are closer travel together."""
ROOMY_S: Final = 0.04
"""The same while half of the engine is free: nobody waits for the room that the next heartbeat would tell of."""
URGENT_S: Final = 0.001
"""An engine that has ended its batch waits for the next one until a processor has heard of it: that is told at once."""
NO_LOAD: Final = Load(running=0, waiting=0, credits=Credits(free_sequences=0, free_kv_tokens=0))
NO_STEPS: Final = StepCounts()
NO_TIMINGS: Final = Timings()
NO_LIMITS: Final = Limits(max_sequences=0, max_kv_tokens=0, max_batch_tokens=0, max_context_tokens=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """The worker at this moment. `waiting` are dispatches that the engine has not been given, `parkable` is what work
    that runs and yields would leave.
    """

    state: WorkerState
    load: Load = NO_LOAD
    limits: Limits = NO_LIMITS
    waiting: int = 0
    parkable: Parkable = NOTHING
    slots: list[Slot] = field(default_factory=list)
    finished: list[Finished] = field(default_factory=list)
    steps: StepCounts = NO_STEPS
    timings: Timings = NO_TIMINGS
    prefixes: list[int] = field(default_factory=list)


class Heart:
    """Numbers heartbeats and knows when the next one is due. Seconds are of a monotonic clock."""

    def __init__(self, identity: Identity, *, engine: EngineKind, mode: EngineMode = "continuous") -> None:
        self._id = identity
        self._engine: EngineKind = engine
        self._mode: EngineMode = mode
        self._seq = 0
        self._last_s = float("-inf")
        self._coalesce_s = COALESCE_S

    def due_at_s(self, *, has_changed: bool, is_urgent: bool = False) -> float:
        """When the next heartbeat goes out."""
        if is_urgent:
            return self._last_s + URGENT_S
        return self._last_s + (self._coalesce_s if has_changed else HEARTBEAT_INTERVAL_S)

    def beat(self, condition: Condition, *, now_s: float, at_ms: int) -> Heartbeat:
        """The next heartbeat. Only a ready worker offers room, less what waits in front of its engine."""
        interval_us = round((now_s - self._last_s) * 1e6) if self._seq else 0
        self._seq += 1
        self._last_s = now_s
        load, steps, room = condition.load, condition.steps, _credits(condition)
        self._coalesce_s = ROOMY_S if _is_roomy(room, condition.limits) else COALESCE_S
        return Heartbeat(
            worker=self._id.worker,
            run=self._id.run,
            seq=self._seq,
            at_ms=at_ms,
            model=self._id.model,
            deployment=self._id.deployment,
            engine=self._engine,
            state=condition.state,
            running=load.running,
            waiting=load.waiting + condition.waiting,
            slots=condition.slots,
            credits=room,
            limits=condition.limits,
            finished=condition.finished,
            steps=Steps(
                interval_us=interval_us,
                steps=steps.steps,
                busy_us=steps.busy_us,
                prefill_tokens=steps.prefill_tokens,
                decode_tokens=steps.decode_tokens,
            ),
            mode=self._mode,
            samples=list(condition.timings.steps),
            batches=list(condition.timings.batches),
            prefixes=condition.prefixes,
        )


class StepSum:
    """Step counts of several heartbeats, for one row about every second."""

    def __init__(self, now_s: float) -> None:
        self._since_s = now_s
        self._sum = NO_STEPS

    def add(self, counts: StepCounts, now_s: float) -> tuple[StepCounts, int] | None:
        """Add counts: the sum and its interval in microseconds when a second is over."""
        self._sum = _plus(self._sum, counts)
        elapsed_s = now_s - self._since_s
        if elapsed_s < 1:
            return None
        total, self._sum = self._sum, NO_STEPS
        self._since_s = now_s
        return total, round(elapsed_s * 1e6)


def _credits(condition: Condition) -> Credits:
    if condition.state != "ready":
        return NO_LOAD.credits
    offered, parkable = condition.load.credits, condition.parkable
    free = offered.free_sequences - condition.waiting
    # What waits before the engine or in it takes what is parked first.
    lacking = max(-free, 0) if offered.free_sequences else condition.waiting + condition.load.waiting
    left = max(parkable.sequences - lacking, 0)
    return Credits(
        free_sequences=max(free, 0),
        free_kv_tokens=offered.free_kv_tokens,
        prefill_backlog_tokens=offered.prefill_backlog_tokens,
        parkable_sequences=left,
        parkable_kv_tokens=parkable.kv_tokens if left else 0,
    )


def _is_roomy(room: Credits, limits: Limits) -> bool:
    return 2 * room.free_sequences > limits.max_sequences and 2 * room.free_kv_tokens > limits.max_kv_tokens


def _plus(a: StepCounts, b: StepCounts) -> StepCounts:
    return StepCounts(
        steps=a.steps + b.steps,
        busy_us=a.busy_us + b.busy_us,
        prefill_tokens=a.prefill_tokens + b.prefill_tokens,
        decode_tokens=a.decode_tokens + b.decode_tokens,
        running_max=max(a.running_max, b.running_max),
        waiting_max=max(a.waiting_max, b.waiting_max),
        kv_usage_ratio=b.kv_usage_ratio,
        busy_ns=a.busy_ns + b.busy_ns,
    )
