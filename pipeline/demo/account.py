"""What the demo reads back: SQL over ClickHouse's HTTP interface, and the count that has to come out even.

The three numbers of the count come from three places: requests from the ends of the lanes in Kafka, terminal records
from the response topic by the reader rule, rows from ClickHouse.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aiokafka import TopicPartition

from pipeline.runtime import kafka
from pipeline.settings import Settings
from sinks.clickhouse.client import connect
from topics import names
from topics.codec import decode_response
from topics.reader import Reader

EVEN_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many requests were produced, ended and recorded."""

    produced: int
    terminal: int
    rows: int

    @property
    def is_even(self) -> bool:
        """Whether nothing is missing and nothing is there twice."""
        return self.produced == self.terminal == self.rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The result of a query: column names and rows."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


async def query(settings: Settings, sql: str) -> Answer:
    """Run one SELECT over ClickHouse's HTTP interface, off the event loop."""
    return await asyncio.to_thread(_query, settings, sql)


async def count_when_even(settings: Settings) -> Count:
    """The count, as soon as it is even; or as it stands after a minute."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(EVEN_WITHIN_S):
            return await _poll(lambda: count(settings))
    return await count(settings)


async def count(settings: Settings) -> Count:
    """The three numbers at this moment."""
    rows = await query(
        settings,
        f"SELECT count(DISTINCT lane_topic, lane_partition, lane_offset), count() "
        f"FROM {settings.clickhouse.database}.requests WHERE final = 1",
    )
    return Count(
        produced=await _produced(settings), terminal=await _terminals(settings), rows=int(str(rows.rows[0][0]))
    )


async def _poll(ask: Callable[[], Awaitable[Count]]) -> Count:
    while not (found := await ask()).is_even:  # noqa: ASYNC110 - nothing announces a row in ClickHouse
        await asyncio.sleep(0.5)
    return found


async def _produced(settings: Settings) -> int:
    lanes = [
        TopicPartition(names.Lane(name, latency_class).topic, shard)
        for name, model in settings.models.items()
        for latency_class in model.classes
        for shard in range(model.shards)
    ]
    reader = kafka.consumer(settings.kafka, client_id="millrace-demo")
    await reader.start()
    try:
        return sum((await reader.end_offsets(lanes)).values())
    finally:
        await reader.stop()


async def _terminals(settings: Settings) -> int:
    """Requests that have an accepted terminal record on the common response topic."""
    readers: dict[str, Reader] = defaultdict(Reader)
    partitions = [TopicPartition(names.RESPONSES, p) for p in range(settings.topics.response_partitions)]
    log = kafka.consumer(settings.kafka, client_id="millrace-demo")
    await log.start()
    try:
        log.assign(partitions)
        ends = await log.end_offsets(partitions)
        await log.seek_to_beginning(*partitions)
        while any([await log.position(p) < ends[p] for p in partitions]):
            for records in (await log.getmany(timeout_ms=200)).values():
                for record in records:
                    response = decode_response(record.value)
                    readers[response.origin].feed(response)
    finally:
        await log.stop()
    return sum(reader.has_ended for reader in readers.values())


def _query(settings: Settings, sql: str) -> Answer:
    clickhouse = settings.clickhouse
    client = connect(clickhouse.http_url, clickhouse.user, clickhouse.password, clickhouse.database)
    try:
        result = client.query(sql)
        return Answer(columns=result.column_names, rows=result.result_rows)
    finally:
        client.close()
