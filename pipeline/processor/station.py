"""One model in the process: its shards, its Faust app and the heartbeats of its workers."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from faust.contrib.asgi import bind_to_running_loop

from pipeline.runtime import kafka
from pipeline.runtime.broadcasts import BroadcastReader
from pipeline.runtime.producers import renew_identity
from pipeline.runtime.tracing import TraceShipper
from pipeline.settings import KafkaSettings
from processors.app import FETCH_BYTES, MAX_POLL_RECORDS, FaustFlow, build_app, group_of
from processors.delivery import Settlement
from processors.outbox import Outbox
from processors.policy import Policy
from processors.shards import Shards
from topics import names
from topics.codec import decode_heartbeat

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
    ) -> None:
        self.model = policy.model
        self._settings = settings
        self._flow = FaustFlow()
        self._shipper = shipper
        self._settlement = Settlement(shipper, lambda at: self.shards.settle(at))
        self._outbox = Outbox(producer, self._settlement.on_delivered, renew=partial(renew_identity, producer))
        self.shards = Shards(
            policy, process=process, run=run, replies=replies, outbox=self._outbox, shipper=shipper, flow=self._flow
        )
        self._app = build_app(policy, self.shards, self._flow, make_consumer=self._make_consumer)
        self._heartbeats = BroadcastReader(
            settings,
            (names.workers_topic(policy.model),),
            self._on_heartbeat,
            client_id=f"{process}-{policy.model}-workers",
            start="recent",
        )

    async def start(self) -> None:
        """Read heartbeats, and lanes as they are assigned.

        Raises:
            KafkaError: the broker cannot be reached or a topic does not exist.
        """
        await self._outbox.start()
        await self._settlement.start()
        await self._heartbeats.start()
        bind_to_running_loop(self._app)
        await self._app.start()

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

    async def stop(self) -> None:
        """Take nothing more, deliver what was decided, commit it and leave the group."""
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

    def _on_heartbeat(self, record: ConsumerRecord[Any, Any]) -> None:
        self.shards.on_heartbeat(decode_heartbeat(record.value or b""), timestamp_ms=record.timestamp)
