"""Every topic once: what it is called, what lies in it, how long, and where its unreadable records go.

The catalogue is a value computed from the layout of a cluster (its models, classes, deployments and pools); whoever has
a broker creates the topics from it or verifies them against it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from topics import names
from topics.codec import MAX_RECORD_BYTES

HOUR_MS: Final = 3600 * 1000
Cleanup = Literal["delete", "compact"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic.

    Attributes:
        key: what the record key is, `-` for none.
        value: the record types in it.
        partitions: at least so many; one owner or reader each.
        retention_ms: how long records are kept; unused where `cleanup` is `compact`.
        dead_letters: where undecodable records go; None where they are only counted.
    """

    name: str
    key: str
    value: str
    partitions: int
    retention_ms: int
    cleanup: Cleanup = "delete"
    dead_letters: str | None = None

    @property
    def config(self) -> dict[str, str]:
        """Broker settings. Every topic counts time by the broker's clock and none is bounded by bytes."""
        settings = {
            "cleanup.policy": self.cleanup,
            "message.timestamp.type": "LogAppendTime",
            "max.message.bytes": str(MAX_RECORD_BYTES),
        }
        return settings if self.cleanup == "compact" else {**settings, "retention.ms": str(self.retention_ms)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLayout:
    """What the topics of one model depend on. `shards` is the partition count of each of its lanes."""

    model: str
    classes: tuple[str, ...]
    deployments: tuple[str, ...]
    shards: int = 1
    slots: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What the topics of a cluster depend on.

    Attributes:
        pools: response topics beside the common one, by name.
        longest_deadline_ms: lanes, slots and responses are kept for longer than this plus `dedupe_window_ms`.
    """

    models: tuple[ModelLayout, ...]
    pools: tuple[str, ...] = ()
    response_partitions: int = 8
    trace_partitions: int = 1
    longest_deadline_ms: int = 24 * HOUR_MS
    dedupe_window_ms: int = HOUR_MS
    extra_retention_ms: int = field(default=24 * HOUR_MS)

    @property
    def work_retention_ms(self) -> int:
        """How long a request, its dispatch and its answer stay in the log."""
        return self.longest_deadline_ms + self.dedupe_window_ms + self.extra_retention_ms


def catalogue(layout: Layout) -> tuple[Topic, ...]:
    """All topics of a cluster, in the order of a request's way."""
    return (*_work(layout), *_responses(layout), *_shared(layout))


def _work(layout: Layout) -> Iterator[Topic]:
    kept_ms = layout.work_retention_ms
    for model in layout.models:
        yield from _lanes(model, kept_ms)
        yield from _dispatch(model, kept_ms)
        yield Topic(
            name=names.workers_topic(model.model),
            key="worker",
            value="Heartbeat",
            partitions=1,
            retention_ms=HOUR_MS,
        )
        yield Topic(
            name=names.returns_topic(model.model),
            key="request id",
            value="Return",
            partitions=model.shards,
            retention_ms=kept_ms,
            dead_letters=names.DEAD_LETTERS,
        )


def _lanes(model: ModelLayout, kept_ms: int) -> Iterator[Topic]:
    for latency_class in model.classes:
        yield Topic(
            name=names.Lane(model.model, latency_class).topic,
            key="any",
            value="Request",
            partitions=model.shards,
            retention_ms=kept_ms,
            dead_letters=names.DEAD_LETTERS,
        )


def _dispatch(model: ModelLayout, kept_ms: int) -> Iterator[Topic]:
    for deployment in model.deployments:
        yield Topic(
            name=names.dispatch_topic(deployment),
            key="request id",
            value="Dispatch | Owner | Cancel",
            partitions=model.slots,
            retention_ms=kept_ms,
            dead_letters=names.DEAD_LETTERS,
        )


def _responses(layout: Layout) -> Iterator[Topic]:
    for pool in ("", *layout.pools):
        yield Topic(
            name=names.responses_topic(pool),
            key="request id",
            value="Started | Delta | Progress | Completed | Failed | Rejected | Expired | Cancelled",
            partitions=layout.response_partitions,
            retention_ms=layout.work_retention_ms,
        )


def _shared(layout: Layout) -> Iterable[Topic]:
    week_ms = 7 * 24 * HOUR_MS
    return (
        Topic(
            name=names.CANCELLATIONS,
            key="request id",
            value="Cancellation",
            partitions=1,
            retention_ms=layout.work_retention_ms,
        ),
        Topic(
            name=names.CONTROL,
            key="what it is about",
            value="DeploymentState | Rollout | Drain",
            partitions=1,
            retention_ms=0,
            cleanup="compact",
        ),
        Topic(
            name=names.TRACE,
            key="process",
            value="Arrow IPC stream of one table's rows",
            partitions=layout.trace_partitions,
            retention_ms=week_ms,
            dead_letters=names.DEAD_LETTERS,
        ),
        Topic(
            name=names.FEEDBACK,
            key="request id",
            value="Feedback",
            partitions=1,
            retention_ms=week_ms,
            dead_letters=names.DEAD_LETTERS,
        ),
        Topic(
            name=names.DEAD_LETTERS,
            key="as the original",
            value="the original bytes",
            partitions=1,
            retention_ms=2 * week_ms,
        ),
    )
