"""A cluster at one moment: lanes, workers, recorder and ClickHouse, from offsets, heartbeats and lane reports. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from aiokafka import TopicPartition

from topics.fleet import STALE_AFTER_S, Heartbeat, LaneFigures, LaneReport, ModelFigures, WorkersRecord
from topics.names import Lane

ARRIVALS_OVER_S: Final = 10.0
"""Arrivals per second are counted over so many seconds."""
FORGOTTEN_AFTER_S: Final = 10.0
"""A worker that was silent for longer is not shown any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneOutlook:
    """A lane as the processors that own its shards tell: sums and the worst of all shards.

    Attributes:
        processors: who told, sorted.
        queued: requests that processors hold.
        slack_ms: how long the request that is due first may still wait; negative when late, None where none waits.
        batch_size: median of late.
        size_limit: largest batch that the lane's target allows; 0 where nothing was learned yet.
        saturation: the batch that keeps up with the load over that limit: above 1, only more workers help.
        model_error_ratio: how far predictions of the latency model were off of late.
        is_paused: whether the queue is full, or too much of it unacknowledged, so that the rest waits in Kafka.
        is_deferring: whether requests wait on purpose though a worker has room.
    """

    processors: tuple[str, ...]
    queued: int
    slack_ms: int | None
    batch_size: int
    size_limit: int
    saturation: float
    model_error_ratio: float
    is_paused: bool
    is_deferring: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyModel:
    """How long the engines that serve a model take, as one of its processors has learned it (`topics.fleet`).

    Attributes:
        shape_us: what each thing in a batch or step takes, in microseconds.
        scale: how much slower than that the engines are of late.
        safety: how much longer than expected deadlines allow for.
        samples: batches or steps that it was learned from.
        error_ratio: how far predictions were off of late.
    """

    model: str
    deployment: str
    processor: str
    shape_us: Mapping[str, float]
    scale: float
    safety: float
    samples: int
    error_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneStatus:
    """A lane.

    Attributes:
        arrived: requests that its topic has ever got.
        arrivals_per_s: over the last `ARRIVALS_OVER_S`.
        lag: requests that are not dispatched or answered yet, in the processor's queue or still in Kafka: end of the
            log less what the processor has committed.
        outlook: what its processors tell; None where none has told lately.
    """

    model: str
    latency_class: str
    arrived: int
    arrivals_per_s: float
    lag: int
    outlook: LaneOutlook | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """A worker, as its newest heartbeat has it.

    Attributes:
        age_s: the heartbeat's age: for so long it has been silent.
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
    latency_models: tuple[LatencyModel, ...] = ()
    metrics: Mapping[str, str] = field(default_factory=dict)
    """Where each process of a local cluster serves its metrics; empty for any other cluster."""


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
    lane: Lane,
    offsets: Mapping[TopicPartition, Offsets],
    committed: Mapping[TopicPartition, int],
    outlook: LaneOutlook | None = None,
) -> LaneStatus:
    """A lane from the offsets of its partitions, which are among `offsets`, and from what its processors tell."""
    mine = {partition: known for partition, known in offsets.items() if partition.topic == lane.topic}
    recent = sum(known.end - known.recently for known in mine.values())
    return LaneStatus(
        model=lane.model,
        latency_class=lane.latency_class,
        arrived=sum(known.end for known in mine.values()),
        arrivals_per_s=recent / ARRIVALS_OVER_S,
        lag=sum(known.lag(committed.get(partition)) for partition, known in mine.items()),
        outlook=outlook,
    )


class Fleet:
    """The newest heartbeat of every worker, and the newest report about the lanes of every shard."""

    def __init__(self) -> None:
        self._newest: dict[str, tuple[int, Heartbeat]] = {}
        self._reports: dict[tuple[str, int], tuple[int, LaneReport]] = {}

    def feed(self, record: WorkersRecord, *, at_ms: int) -> None:
        """A record of a workers topic that has this broker time, in log order."""
        if isinstance(record, Heartbeat):
            self._newest[record.worker] = (at_ms, record)
        else:
            self._reports[record.model, record.shard] = (at_ms, record)

    def outlook(self, lane: Lane, *, now_ms: int) -> LaneOutlook | None:
        """What was told of a lane lately; None where nothing was."""
        told = [
            (report.processor, figures)
            for at_ms, report in self._reports.values()
            if report.model == lane.model and now_ms - at_ms <= STALE_AFTER_S * 1000
            for figures in report.lanes
            if figures.latency_class == lane.latency_class
        ]
        return _outlook(told) if told else None

    def latency_models(self, *, now_ms: int) -> tuple[LatencyModel, ...]:
        """What processors have learned of the engines, by model and deployment: of several, who has seen most."""
        found: dict[tuple[str, str], LatencyModel] = {}
        for at_ms, report in self._reports.values():
            told = report.latency_model
            if told is None or now_ms - at_ms > STALE_AFTER_S * 1000:
                continue
            known = found.get((report.model, told.deployment))
            if known is None or known.samples < told.samples:
                found[report.model, told.deployment] = _latency_model(report, told)
        return tuple(model for _, model in sorted(found.items()))

    def workers(self, *, now_ms: int) -> tuple[WorkerStatus, ...]:
        """Those that were heard of lately and did not say goodbye, by deployment and name."""
        known = (_worker_status(beat, at_ms=at_ms, now_ms=now_ms) for at_ms, beat in self._newest.values())
        alive = (worker for worker in known if worker.age_s <= FORGOTTEN_AFTER_S and worker.state != "stopped")
        return tuple(sorted(alive, key=lambda worker: (worker.deployment, worker.worker)))


def serving(workers: Iterable[WorkerStatus]) -> list[WorkerStatus]:
    """Those that get work."""
    return [worker for worker in workers if worker.state == "ready" and not worker.is_stale]


def _outlook(told: list[tuple[str, LaneFigures]]) -> LaneOutlook:
    """All shards of a lane as one."""
    shards = [figures for _, figures in told]
    return LaneOutlook(
        processors=tuple(sorted({processor for processor, _ in told})),
        queued=sum(shard.queued for shard in shards),
        slack_ms=min((shard.slack_ms for shard in shards if shard.slack_ms is not None), default=None),
        batch_size=max(shard.batch_size for shard in shards),
        size_limit=max(shard.size_limit for shard in shards),
        saturation=max(shard.saturation for shard in shards),
        model_error_ratio=max(shard.model_error_ratio for shard in shards),
        is_paused=any(shard.is_paused for shard in shards),
        is_deferring=any(shard.is_deferring for shard in shards),
    )


def _latency_model(report: LaneReport, told: ModelFigures) -> LatencyModel:
    return LatencyModel(
        model=report.model,
        deployment=told.deployment,
        processor=report.processor,
        shape_us=told.shape_us,
        scale=told.scale,
        safety=told.safety,
        samples=told.samples,
        error_ratio=told.error_ratio,
    )


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
