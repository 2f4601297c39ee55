"""Looking at a running cluster, as often as asked, over one set of connections. What is seen becomes a `Snapshot`."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from pipeline.cli import account
from pipeline.cli.snapshot import (
    ARRIVALS_OVER_S,
    FORGOTTEN_AFTER_S,
    ClickHouseStatus,
    Fleet,
    LaneStatus,
    Offsets,
    Snapshot,
    lane_status,
)
from pipeline.runtime import kafka
from pipeline.runtime.reading import begin, existing_partitions, offsets_since, read_to, reader
from pipeline.settings import Settings
from topics import names
from topics.codec import decode_workers_record
from topics.errors import PipelineError

GROUP_PREFIX = "millrace."
"""Consumer group of a model's processors: this and the model's name."""


class Probe:
    """Use as an async context.

    Args:
        settings: what the cluster consists of.
        now_ms: wall clock in milliseconds since the epoch.
    """

    _log: AIOKafkaConsumer
    _admin: AIOKafkaAdminClient

    def __init__(self, settings: Settings, *, now_ms: Callable[[], int] = lambda: int(time.time() * 1000)) -> None:
        self._settings = settings
        self._now_ms = now_ms
        self._fleet = Fleet()
        self._stack = AsyncExitStack()
        self._heartbeats: list[TopicPartition] = []
        self._models = tuple(sorted(settings.models))

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            KafkaError: the broker cannot be reached.
        """
        async with AsyncExitStack() as stack:
            log = await stack.enter_async_context(reader(self._settings.kafka, client_id="millrace-status"))
            admin = kafka.admin(self._settings.kafka, client_id="millrace-status")
            stack.push_async_callback(admin.close)
            await admin.start()
            self._log, self._admin = log, admin
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave."""
        await self._stack.aclose()

    async def take(self) -> Snapshot:
        """The cluster as it is now.

        Raises:
            KafkaError: the broker does not answer any more.
        """
        asked = asyncio.create_task(self._ask_clickhouse())
        try:
            await self._hear()
            lanes, missing = await self._lanes()
            clickhouse = await asked
        finally:
            asked.cancel()
        return Snapshot(
            kafka=self._settings.kafka.brokers,
            lanes=tuple(lanes),
            workers=self._fleet.workers(now_ms=self._now_ms()),
            latency_models=self._fleet.latency_models(now_ms=self._now_ms()),
            clickhouse=clickhouse,
            missing_topics=tuple(missing),
        )

    async def _hear(self) -> None:
        """Read the heartbeats and lane reports that were sent since the last time, or lately."""
        if not self._heartbeats:
            topics = [names.workers_topic(model) for model in self._models]
            self._heartbeats = await existing_partitions(self._log, topics)
            since_ms = self._now_ms() - int(FORGOTTEN_AFTER_S * 1000)
            await begin(self._log, self._heartbeats, since_ms=since_ms)
        if not self._heartbeats:
            return
        ends = await self._log.end_offsets(self._heartbeats)
        async for records in read_to(self._log, ends):
            for record in records:
                told = decode_workers_record(record.value)
                if told is not None:
                    self._fleet.feed(told, at_ms=record.timestamp)

    async def clock_ahead_ms(self, *, within_s: float) -> int | None:
        """This machine's clock less the broker's, plus the way of the fastest of the heartbeats that arrive within
        `within_s` seconds; None where none does.
        """
        await self._hear()
        ahead: list[int] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s if self._heartbeats else 0):
                while True:
                    for records in (await self._log.getmany(timeout_ms=100)).values():
                        ahead.append(self._now_ms() - max(record.timestamp for record in records))
        return min(ahead, default=None)

    async def _lanes(self) -> tuple[list[LaneStatus], list[str]]:
        """Status of the lanes that exist, and topics of those that do not."""
        lanes = [
            names.Lane(model, latency_class)
            for model in self._models
            for latency_class in self._settings.models[model].classes
        ]
        partitions = await existing_partitions(self._log, [lane.topic for lane in lanes])
        present = {partition.topic for partition in partitions}
        offsets = await self._offsets(partitions)
        committed = await self._committed()
        now_ms = self._now_ms()
        found = [
            lane_status(lane, offsets, committed, self._fleet.outlook(lane, now_ms=now_ms))
            for lane in lanes
            if lane.topic in present
        ]
        return found, [lane.topic for lane in lanes if lane.topic not in present]

    async def _offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, Offsets]:
        if not partitions:
            return {}
        beginnings = await self._log.beginning_offsets(partitions)
        ends = await self._log.end_offsets(partitions)
        since_ms = self._now_ms() - int(ARRIVALS_OVER_S * 1000)
        recently = await offsets_since(self._log, dict.fromkeys(partitions, since_ms), ends)
        return {p: Offsets(beginning=beginnings[p], end=ends[p], recently=recently[p]) for p in partitions}

    async def _committed(self) -> dict[TopicPartition, int]:
        """Offsets that the processors have committed; a model without any has none."""
        committed: dict[TopicPartition, int] = {}
        for model in self._models:
            try:
                known = await self._admin.list_consumer_group_offsets(GROUP_PREFIX + model)
            except GroupCoordinatorNotAvailableError:  # the broker makes its first group's topic at this moment
                continue
            committed |= {partition: place.offset for partition, place in known.items() if place.offset >= 0}
        return committed

    async def _ask_clickhouse(self) -> ClickHouseStatus:
        url = self._settings.clickhouse.http_url
        try:
            version, recorded = await asyncio.to_thread(self._version_and_position)
        except PipelineError as error:
            return ClickHouseStatus(url=url, problem=error.message)
        partitions = await existing_partitions(self._log, [names.TRACE])
        ends = await self._log.end_offsets(partitions) if partitions else {}
        lag = sum(max(0, end - recorded.get(partition.partition, 0)) for partition, end in ends.items())
        return ClickHouseStatus(url=url, version=version, recorder_lag=lag)

    def _version_and_position(self) -> tuple[str, dict[int, int]]:
        with account.account(self._settings.clickhouse) as client:
            return str(client.server_version), account.recorded_to(client)
