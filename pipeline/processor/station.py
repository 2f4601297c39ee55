"""One model in the process: its shards, its Faust app and the heartbeats of its workers."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from faust.contrib.asgi import bind_to_running_loop

from pipeline.processor.histories import Histories
from pipeline.processor.reports import LaneReporter
from pipeline.runtime import kafka
from pipeline.runtime.broadcasts import BroadcastReader
from pipeline.runtime.producers import renew_identity
from pipeline.runtime.tracing import TraceShipper
from pipeline.settings import KafkaSettings
from processors.app import FETCH_BYTES, MAX_POLL_RECORDS, FaustFlow, build_app, group_of
from processors.batching.modes import ControllerFactory, controller_for
from processors.delivery import Settlement
from processors.outbox import Outbox
from processors.policy import Policy
from processors.shards import Shards
from topics import names
from topics.codec import decode_workers_record
from topics.fleet import Heartbeat, LaneReport

logger = logging.getLogger(__name__)

FLUSH_S: Final = 10.0
"""How long a stopping processor waits for what it has decided to be delivered; the rest is decided again."""


class Station:
    """Makes, runs and stops everything of one model.

    Args:
        policy: the model.
        settings: the broker.
        process, run: names of the process and of this start of it.
        producer: for dispatches and answers of this model only.
        shipper: for the trace, shared by the process.
        replies: partitions of the response topics.
        histories: what former owners of its shards have left.
        controllers: makes the controller for a way of batching.
    """

    def __init__(
        self,
        policy: Policy,
        settings: KafkaSettings,
        *,
        process: str,
        run: str,
        producer: AIOKafkaProducer,
        shipper: TraceShipper,
        replies: Mapping[str, int],
        histories: Histories,
        controllers: ControllerFactory = controller_for,
    ) -> None:
        self.model = policy.model
        self._settings = settings
        self._flow = FaustFlow()
        self._shipper = shipper
        self._settlement = Settlement(shipper, lambda at: self.shards.settle(at))
        self._outbox = Outbox(producer, self._settlement.on_delivered, renew=partial(renew_identity, producer))
        self.shards = Shards(
            policy,
            process=process,
            run=run,
            replies=replies,
            outbox=self._outbox,
            shipper=shipper,
            flow=self._flow,
            delivered=self._settlement.on_delivered,
            histories=histories.of(policy),
            controllers=controllers,
        )
        self._app = build_app(policy, self.shards, self._flow, make_consumer=self._make_consumer)
        self._answers: BroadcastReader | None = None
        if policy.cache_bytes:
            self._answers = BroadcastReader(
                settings, tuple(replies), self._on_response, client_id=f"{process}-{policy.model}-answers"
            )
        self._heartbeats = BroadcastReader(
            settings,
            (names.workers_topic(policy.model),),
            self._on_workers_record,
            client_id=f"{process}-{policy.model}-workers",
            start="recent",
        )

        self._reporter = LaneReporter(producer, self.shards.reports, now_s=time.monotonic)

    async def start(self) -> None:
        """Read heartbeats, and lanes as they are assigned.

        Raises:
            KafkaError: the broker cannot be reached or a topic does not exist.
        """
        await self._outbox.start()
        await self._settlement.start()
        await self._heartbeats.start()
        if self._answers is not None:
            await self._answers.start()
        bind_to_running_loop(self._app)
        await self._app.start()
        await self._reporter.start()

    async def join(self) -> None:
        """Return when a part has ended: the app, the outbox, the settlement or the trace; none ends by itself.

        Raises:
            Exception: what ended the outbox, the settlement or the trace.
        """
        parts = [asyncio.ensure_future(join()) for join in (self._app.wait, self._outbox.join, self._settlement.join)]
        try:
            ends: list[asyncio.Future[Any]] = [*parts, self._shipper.failed]
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()
        finally:
            for part in parts:
                part.cancel()

    async def lane_lags(self) -> dict[tuple[str, ...], float]:
        """By model and class, records of the lane in the partitions owned here that are not committed yet.

        Raises:
            KafkaError: the broker did not tell.
        """
        found: dict[tuple[str, ...], float] = {}
        for topic, lag in (await self._flow.lags()).items():
            if topic != names.returns_topic(self.model):
                lane = names.Lane.of_topic(topic)
                found[lane.model, lane.latency_class] = lag
        return found

    async def stop(self) -> None:
        """Take nothing more, deliver what was decided, commit it and leave the group."""
        await self._reporter.stop()
        self.shards.close()
        try:
            async with asyncio.timeout(FLUSH_S):
                await self._outbox.flush()
                await self._settlement.flush()
        except TimeoutError:
            logger.warning("model %s: not everything was delivered in %.0f s", self.model, FLUSH_S)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._app.stop(), FLUSH_S)
        await self._heartbeats.stop()
        if self._answers is not None:
            await self._answers.stop()
        await self._settlement.stop()
        await self._outbox.stop()

    def _make_consumer(self, assignor: AbstractPartitionAssignor) -> AIOKafkaConsumer:
        return kafka.consumer(
            self._settings,
            group=group_of(self.model),
            client_id=f"millrace-processor-{self.model}",
            max_partition_fetch_bytes=FETCH_BYTES,
            max_poll_records=MAX_POLL_RECORDS,
            partition_assignment_strategy=[assignor],
        )

    def _on_response(self, record: ConsumerRecord[Any, Any]) -> None:
        self.shards.on_response_record(record.key, record.value)

    def _on_workers_record(self, record: ConsumerRecord[Any, Any]) -> None:
        told = decode_workers_record(record.value or b"")
        if isinstance(told, Heartbeat):
            self.shards.on_heartbeat(told, timestamp_ms=record.timestamp)
        elif isinstance(told, LaneReport):
            self.shards.on_lanes(told)
