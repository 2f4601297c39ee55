"""The processor process: composition root. Connects, runs one station per model, stops them in order."""

import asyncio
import contextlib
import logging
import secrets
import socket
from collections.abc import AsyncIterator
from typing import Any

from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError

from pipeline.metrics import process as metrics
from pipeline.processor.gauges import register_all
from pipeline.processor.histories import Histories
from pipeline.processor.policies import policy_of
from pipeline.processor.replies import ReplyTopics
from pipeline.processor.station import Station
from pipeline.runtime import kafka
from pipeline.runtime.broadcasts import BroadcastReader
from pipeline.runtime.process import announce_ready, settle_memory
from pipeline.settings import Settings
from processors.batching.modes import ControllerFactory, controller_for
from topics import names
from topics.codec import decode_cancellation, decode_control
from topics.errors import TransportError

logger = logging.getLogger(__name__)


async def main(
    settings: Settings,
    models: tuple[str, ...],
    stop: asyncio.Event,
    *,
    controllers: ControllerFactory = controller_for,
) -> int:
    """Process the lanes of `models` until told to stop.

    Any number of processes may run for a model: its shards are shared between them.

    Args:
        settings: resolved; every model is configured.
        models: which ones.
        stop: set to deliver what was decided and end.
        controllers: makes the controller for a way of batching.

    Returns:
        Exit code: 0 after `stop`, 1 when it could not go on.
    """
    try:
        async with _running(settings, models, controllers) as stations:
            settle_memory()
            announce_ready()
            return await _until_stopped(stations, stop)
    except (KafkaError, TransportError) as error:
        logger.error("processor of %s cannot go on: %s", ", ".join(models), error)
        return 1


@contextlib.asynccontextmanager
async def _running(
    settings: Settings, models: tuple[str, ...], controllers: ControllerFactory
) -> AsyncIterator[list[Station]]:
    """All stations, started. They are stopped before the producers that they use."""
    run = secrets.token_hex(4)
    process = f"{socket.gethostname()}-processor-{run}"
    async with contextlib.AsyncExitStack() as stack:
        trace = kafka.producer(settings.kafka, client_id=f"{process}-trace")
        tally = metrics.tally_of(settings, "processor")
        shipper = metrics.shipper_of(settings, trace, process=process, tally=tally)
        replies = ReplyTopics(trace)
        for client in (trace, shipper, replies):
            stack.push_async_callback(client.stop)
            await client.start()
        stations: list[Station] = []
        histories = Histories(settings.kafka, process=process)
        for model in models:
            producer = kafka.producer(settings.kafka, client_id=f"{process}-{model}")
            stack.push_async_callback(producer.stop)
            await producer.start()
            station = Station(
                policy_of(settings, model),
                settings.kafka,
                process=process,
                run=run,
                producer=producer,
                shipper=shipper,
                replies=replies.counts,
                histories=histories,
                controllers=controllers,
            )
            stations.append(station)
        for reader in _shared_readers(settings, stations, process):
            stack.push_async_callback(reader.stop)
            await reader.start()
        for station in stations:
            stack.push_async_callback(station.stop)
            await station.start()
        if tally is not None:
            for gauges in register_all(stations, tally):
                watching = asyncio.create_task(gauges.watch_lags(), name="lane lags")
                stack.callback(watching.cancel)
            await metrics.serve(settings.metrics, tally, stack)
        yield stations


def _shared_readers(settings: Settings, stations: list[Station], process: str) -> tuple[BroadcastReader, ...]:
    """Readers of what concerns all models. Control is compacted and read whole."""

    def on_control(record: ConsumerRecord[Any, Any]) -> None:
        if record.value is not None:
            decided = decode_control(record.value)
            for station in stations:
                station.shards.on_control(decided)

    def on_cancellation(record: ConsumerRecord[Any, Any]) -> None:
        cancellation = decode_cancellation(record.value or b"")
        for station in stations:
            station.shards.on_cancel(cancellation)

    kafka_settings = settings.kafka
    return (
        BroadcastReader(kafka_settings, (names.CONTROL,), on_control, client_id=f"{process}-control", start="earliest"),
        BroadcastReader(
            kafka_settings, (names.CANCELLATIONS,), on_cancellation, client_id=f"{process}-cancels", start="recent"
        ),
    )


async def _until_stopped(stations: list[Station], stop: asyncio.Event) -> int:
    stopping = asyncio.create_task(stop.wait(), name="stop")
    joins = [asyncio.create_task(station.join(), name=f"join {station.model}") for station in stations]
    try:
        await asyncio.wait([stopping, *joins], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (stopping, *joins):
            task.cancel()
    if stop.is_set():
        return 0
    for station, join in zip(stations, joins, strict=True):
        if join.done() and not join.cancelled():
            logger.error("the processor of %s ended by itself", station.model, exc_info=join.exception())
    return 1
