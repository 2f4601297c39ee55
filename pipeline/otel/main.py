"""From the trace topic to an OTLP receiver: read, make spans, export, commit.

A consumer group of its own: it may lag, stop or start again without anybody waiting for it, and several of it share the
partitions. An offset is committed when the receiver has the spans of everything before it; what is exported twice after
a crash has the same ids. A group that is new begins at the end: what happened before nobody asked for.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, KafkaError

from pipeline.metrics import process as metrics
from pipeline.metrics.tally import Tally
from pipeline.otel.lag import watch_lag
from pipeline.runtime import kafka
from pipeline.runtime.logs import Seldom
from pipeline.runtime.process import announce_ready, settle_memory
from pipeline.settings import Settings
from sinks.otel.export import SpanExport
from sinks.otel.reading import SpanReader
from sinks.otel.sampling import Sampling
from topics import names
from topics.errors import CodecError, SettingsError

logger = logging.getLogger(__name__)

GROUP: Final = "millrace.otel"
POLL_MS: Final = 200
MAX_MESSAGES: Final = 20
"""Read at once, so that their spans are bounded: of 500 requests each."""
LONGEST_AWAY_MS: Final = 7 * 24 * 3600 * 1000
"""While the receiver is away nothing is read, and the process is alive all the same."""
JOIN_S: Final = 10.0
"""One that gets no partition within this time stands by."""


async def main(settings: Settings, stop: asyncio.Event) -> int:
    """Export until `stop` is set. Returns 0, or 1 where it cannot go on.

    Raises:
        SettingsError: no receiver is configured.
    """
    if not settings.otel.endpoint:
        raise SettingsError(
            "otel.endpoint is not set; name an OTLP receiver, e.g. --set otel.endpoint=http://collector:4318"
        )
    export = SpanExport(settings.otel.endpoint, stop)
    consumer = kafka.consumer(
        settings.kafka,
        group=GROUP,
        auto_offset_reset="latest",
        client_id="millrace-otel",
        max_poll_interval_ms=LONGEST_AWAY_MS,
    )
    tally = metrics.tally_of(settings, "otel")
    stack = AsyncExitStack()
    try:
        await consumer.start()
        await _begin(consumer)
        if tally is not None:
            _tell(tally, export, consumer, stack)
            await metrics.serve(settings.metrics, tally, stack)
        settle_memory()
        announce_ready()
        reader = SpanReader(Sampling(ratio=settings.otel.sample_ratio, keep_errors=settings.otel.keep_errors))
        await _pump(consumer, reader, export, stop)
    except KafkaError as error:
        logger.error("spans cannot be exported any longer: %s", error)
        return 1
    finally:
        await stack.aclose()
        await consumer.stop()
        await export.close()
        logger.info("%s spans exported, %s given up", export.exported, export.given_up)
    return 0


def _tell(tally: Tally, export: SpanExport, consumer: AIOKafkaConsumer, stack: AsyncExitStack) -> None:
    """Let a tally ask what the exporter knows at that moment, until the stack is left."""
    lags: dict[int, int] = {}
    watching = asyncio.create_task(watch_lag(consumer, lags), name="exporter lag")
    stack.callback(watching.cancel)
    tally.ask("millrace_otel_lag", lambda: {(str(partition),): float(lag) for partition, lag in lags.items()})
    tally.ask("millrace_otel_spans_total", lambda: {(): float(export.exported)})
    tally.ask("millrace_otel_given_up_total", lambda: {(): float(export.given_up)})


class _Joined(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Tells when the group has given partitions for the first time."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """What was read of them is exported and, where their next owner was quicker, exported again."""

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """The group has a plan."""
        self.event.set()


async def _begin(consumer: AIOKafkaConsumer) -> None:
    """Return when it is settled where reading begins: what is written from now on is exported."""
    joined = _Joined()
    consumer.subscribe([names.TRACE], listener=joined)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(joined.event.wait(), JOIN_S)
    for partition in consumer.assignment():
        await consumer.position(partition)


async def _pump(consumer: AIOKafkaConsumer, reader: SpanReader, export: SpanExport, stop: asyncio.Event) -> None:
    unreadable = Seldom()
    while not stop.is_set():
        fetched = await consumer.getmany(timeout_ms=POLL_MS, max_records=MAX_MESSAGES)
        if not fetched:
            continue
        spans = []
        for records in fetched.values():
            for record in records:
                spans += _read(reader, record, unreadable)
        if not await export.export(spans):
            return
        try:
            await consumer.commit()
        except CommitFailedError as error:
            logger.info("partitions moved while spans were exported; some are exported again: %s", error)


def _read(reader: SpanReader, record: ConsumerRecord[Any, Any], unreadable: Seldom) -> list[Any]:
    try:
        return reader.read(record.value, list(record.headers), at_ms=record.timestamp)
    except CodecError as error:
        if unreadable.due(time.monotonic()) is not None:
            logger.warning("no spans of %s/%s/%s: %s", record.topic, record.partition, record.offset, error)
        return []
