"""The recorder's process put together: store, Kafka clients, recorder. What it does is in `sinks.recorder`."""

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from infra.devstack.home import millrace_home
from pipeline.metrics import process as metrics
from pipeline.metrics.tally import Tally
from pipeline.recorder.schema import schema_of
from pipeline.runtime import kafka
from pipeline.runtime.process import announce_ready, settle_memory
from pipeline.settings import ClickHouseSettings, Settings
from sinks.clickhouse.embedded import EmbeddedStore
from sinks.clickhouse.http import EmbeddedServer, User
from sinks.clickhouse.remote import RemoteStore
from sinks.clickhouse.schema import Schema, establish
from sinks.clickhouse.store import Store
from sinks.recorder import Recorder
from sinks.recorder.deadletters import DeadLetters
from sinks.recorder.logs import Log, feedback_log, trace_log
from sinks.recorder.patience import Patience, Stopped
from topics import names
from topics.errors import PipelineError

logger = logging.getLogger(__name__)

GROUP: Final = "millrace.recorder"
CLIENT_ID: Final = "millrace-recorder"
URL_FILE: Final = "clickhouse.url"
"""In the folder of the embedded engine: where its HTTP interface listens, for those who find it by the folder."""
GIVES_WAY: Final = 12
"""Niceness: inserts use all cores in bursts, and nobody waits for them; tokens share the machine. The engine's merges
wait for inserts as well (`sinks.clickhouse.http.priority`), so there has to be room below."""
FETCH_BYTES: Final = 16 << 20
LAG_EVERY_S: Final = 5.0
"""How often the broker is asked how far behind the recorder is, where metrics are served."""
LONGEST_AWAY_MS: Final = 7 * 24 * 3600 * 1000
"""A recorder that waits for its store does not read and is alive all the same; its partitions are not taken for it."""


async def main(
    settings: Settings,
    stop: asyncio.Event,
    *,
    trace_topic: str = names.TRACE,
    feedback_topic: str = names.FEEDBACK,
    dead_letters: str = names.DEAD_LETTERS,
) -> int:
    """Record until `stop` is set. Returns 0, or 1 where it cannot go on; the log has the reason."""
    logs = (trace_log(trace_topic), feedback_log(feedback_topic))
    os.nice(GIVES_WAY)
    try:
        async with AsyncExitStack() as stack:
            await _record(settings, stop, stack, logs, dead_letters)
    except Stopped:
        return 0
    except (PipelineError, KafkaError) as error:
        logger.error("the recorder cannot go on: %s", error)
        return 1
    return 0


def data_folder(settings: ClickHouseSettings) -> Path:
    """Folder of the embedded engine."""
    return Path(settings.path).expanduser().resolve() if settings.path else millrace_home() / "clickhouse"


async def _record(
    settings: Settings, stop: asyncio.Event, stack: AsyncExitStack, logs: Sequence[Log], dead_letters: str
) -> None:
    clickhouse = settings.clickhouse
    store = await _embedded(clickhouse, stack) if clickhouse.is_embedded else await _remote(clickhouse, stack)
    await _establish(store, schema_of(settings), stop)
    producer = kafka.producer(settings.kafka, client_id=CLIENT_ID)
    await producer.start()
    stack.push_async_callback(producer.stop)
    tally = metrics.tally_of(settings, "recorder")
    recorders = []
    for log in logs:
        consumer = _consumer(settings, log.topic)
        await consumer.start()
        stack.push_async_callback(consumer.stop)
        letters = DeadLetters(producer, topic=dead_letters)
        recorder = Recorder(
            store=store,
            database=clickhouse.database,
            consumer=consumer,
            dead_letters=letters,
            log=log,
            stop=stop,
            shared=not clickhouse.is_embedded,
        )
        recorders.append(recorder)
        if tally is not None:
            _tell(tally, recorder, letters, _lags(recorder, stack))
    if tally is not None:
        await metrics.serve(settings.metrics, tally, stack)
    settle_memory()
    await _run(recorders)


def _lags(recorder: Recorder, stack: AsyncExitStack) -> Mapping[int, int]:
    """By partition, how far behind a recorder is: kept up to date until the stack is left."""
    lags: dict[int, int] = {}
    watching = asyncio.create_task(_watch(recorder, lags), name="recorder lag")
    stack.callback(watching.cancel)
    return lags


async def _run(recorders: Sequence[Recorder]) -> None:
    """All of them until they end; what one raises ends the others."""
    not_ready = len(recorders)

    def on_ready() -> None:
        nonlocal not_ready
        not_ready -= 1
        if not not_ready:
            announce_ready()

    try:
        async with asyncio.TaskGroup() as group:
            for recorder in recorders:
                group.create_task(recorder.run(on_ready))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _tell(tally: Tally, recorder: Recorder, letters: DeadLetters, lags: Mapping[int, int]) -> None:
    """Let a tally ask what a recorder knows at that moment. `lags` are by partition, kept up to date by `_watch`."""
    tally.ask("millrace_recorder_lag", lambda: {(str(kp),): float(lag) for kp, lag in lags.items()})
    tally.ask("millrace_recorder_rows_total", lambda: {(): float(recorder.rows)})
    tally.ask(
        "millrace_dead_letters_total",
        lambda: {("recorder", code): float(count) for code, count in letters.codes.items()},
    )


async def _watch(recorder: Recorder, lags: dict[int, int]) -> None:
    """Keep the lags up to date until cancelled."""
    while True:
        try:
            found = await recorder.measure_lag()
        except KafkaError as error:  # the values of before stand, and grow stale with the outage that is told elsewhere
            logger.debug("the recorder's lag is not known: %r", error)
        else:
            lags.clear()
            lags.update(found)
        await asyncio.sleep(LAG_EVERY_S)


async def _embedded(settings: ClickHouseSettings, stack: AsyncExitStack) -> Store:
    """The engine of this process, served to all others; only one process can have its folder."""
    folder = data_folder(settings)
    server = EmbeddedServer(
        folder,
        host=settings.host,
        port=settings.port,
        users=users_of(settings),
        database=settings.database,
    )
    await server.start()
    stack.push_async_callback(server.stop)
    url_file = folder / URL_FILE
    url_file.write_text(f"{server.url}\n")
    stack.callback(url_file.unlink, missing_ok=True)
    store = EmbeddedStore(server, folder)
    stack.push_async_callback(store.close)
    return store


def users_of(settings: ClickHouseSettings) -> tuple[User, ...]:
    """Who may ask the embedded engine: the owner, and one who may only read unless that would open a closed door."""
    owner = User(name=settings.user, password=settings.password)
    reader = User(name=settings.reader, password=settings.reader_password, readonly=True)
    has_reader = settings.reader and (settings.reader_password or not settings.password)
    return (owner, reader) if has_reader else (owner,)


async def _remote(settings: ClickHouseSettings, stack: AsyncExitStack) -> Store:
    store = RemoteStore(settings.url, user=settings.user, password=settings.password)
    stack.push_async_callback(store.close)
    return store


async def _establish(store: Store, schema: Schema, stop: asyncio.Event) -> None:
    async def work() -> None:
        await establish(store, schema)

    await Patience(stop).until_there(work)


def _consumer(settings: Settings, topic: str) -> AIOKafkaConsumer:
    """A member of a group where recorders can share a store; a plain reader where the engine has one owner.

    A plain reader is told where to read, so an offset that the log has not is an error. A member is given partitions
    before it can say where it wants to read them.
    """
    is_owner = settings.clickhouse.is_embedded
    return kafka.consumer(
        settings.kafka,
        group=None if is_owner else f"{GROUP}.{topic}",
        auto_offset_reset="none" if is_owner else "earliest",
        client_id=CLIENT_ID,
        max_partition_fetch_bytes=FETCH_BYTES,
        max_poll_interval_ms=LONGEST_AWAY_MS,
    )
