"""A cluster at one moment: lanes, workers, recorder and ClickHouse, computed from offsets and heartbeats. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from aiokafka import TopicPartition

from topics.fleet import STALE_AFTER_S, Heartbeat
from topics.names import Lane

ARRIVALS_OVER_S: Final = 10.0
"""Arrivals per second are counted over so many seconds."""
FORGOTTEN_AFTER_S: Final = 10.0
"""A worker that was silent for longer is not shown any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneStatus:
    """A lane.

    Attributes:
        arrived: requests that its topic has ever got.
        arrivals_per_s: over the last `ARRIVALS_OVER_S`.
        lag: requests that are not dispatched or answered yet, in the processor's queue or still in Kafka: end of the
            log less what the processor has committed.
    """

    model: str
    latency_class: str
    arrived: int
    arrivals_per_s: float
    lag: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """A worker, as its newest heartbeat has it.

    Attributes:
        age_s: the heartbeat's age.
        clock_ahead_ms: the worker's clock less the broker's when the heartbeat was sent, and less its way there.
    """

    worker: str
    deployment: str
    engine: str
    state: str
    slots: tuple[int, ...]
    running: int
    waiting: int
    free_sequences: int
    max_sequences: int
    free_kv_tokens: int
    max_kv_tokens: int
    age_s: float
    clock_ahead_ms: int

    @property
    def is_stale(self) -> bool:
        """Whether it gets no work because its heartbeat is too old."""
        return self.age_s > STALE_AFTER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickHouseStatus:
    """The account. `version` is None where it did not answer, and `problem` says why."""

    url: str
    version: str | None = None
    problem: str = ""
    recorder_lag: int | None = None
    """Trace messages that are not in ClickHouse yet; None where it cannot be known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A cluster at one moment."""

    kafka: str
    lanes: tuple[LaneStatus, ...]
    workers: tuple[WorkerStatus, ...]
    clickhouse: ClickHouseStatus
    missing_topics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Offsets:
    """What is known of one partition: its first offset, its end, and its end `ARRIVALS_OVER_S` ago."""

    beginning: int
    end: int
    recently: int

    def lag(self, committed: int | None) -> int:
        """Records after what a group has committed; everything that is kept where it never has."""
        return self.end - max(self.beginning, committed if committed is not None else 0)


def lane_status(
    lane: Lane, offsets: Mapping[TopicPartition, Offsets], committed: Mapping[TopicPartition, int]
) -> LaneStatus:
    """A lane from the offsets of its partitions, which are among `offsets`."""
    mine = {partition: known for partition, known in offsets.items() if partition.topic == lane.topic}
    recent = sum(known.end - known.recently for known in mine.values())
    return LaneStatus(
        model=lane.model,
        latency_class=lane.latency_class,
        arrived=sum(known.end for known in mine.values()),
        arrivals_per_s=recent / ARRIVALS_OVER_S,
        lag=sum(known.lag(committed.get(partition)) for partition, known in mine.items()),
    )


class Fleet:
    """The newest heartbeat of every worker."""

    def __init__(self) -> None:
        self._newest: dict[str, tuple[int, Heartbeat]] = {}

    def feed(self, heartbeat: Heartbeat, *, at_ms: int) -> None:
        """A heartbeat whose record has this broker time, in log order."""
        self._newest[heartbeat.worker] = (at_ms, heartbeat)

    def workers(self, *, now_ms: int) -> tuple[WorkerStatus, ...]:
        """Those that were heard of lately and did not say goodbye, by deployment and name."""
        known = (_worker_status(beat, at_ms=at_ms, now_ms=now_ms) for at_ms, beat in self._newest.values())
        alive = (worker for worker in known if worker.age_s <= FORGOTTEN_AFTER_S and worker.state != "stopped")
        return tuple(sorted(alive, key=lambda worker: (worker.deployment, worker.worker)))


def serving(workers: Iterable[WorkerStatus]) -> list[WorkerStatus]:
    """Those that get work."""
    return [worker for worker in workers if worker.state == "ready" and not worker.is_stale]


def _worker_status(heartbeat: Heartbeat, *, at_ms: int, now_ms: int) -> WorkerStatus:
    return WorkerStatus(
        worker=heartbeat.worker,
        deployment=heartbeat.deployment,
        engine=heartbeat.engine,
        state=heartbeat.state,
        slots=tuple(sorted(slot.partition for slot in heartbeat.slots)),
        running=heartbeat.running,
        waiting=heartbeat.waiting,
        free_sequences=heartbeat.credits.free_sequences,
        max_sequences=heartbeat.limits.max_sequences,
        free_kv_tokens=heartbeat.credits.free_kv_tokens,
        max_kv_tokens=heartbeat.limits.max_kv_tokens,
        age_s=max(0, now_ms - at_ms) / 1000,
        clock_ahead_ms=heartbeat.at_ms - at_ms,
    )
