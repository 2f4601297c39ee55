"""What the demo reads back: SQL over ClickHouse's HTTP interface, and the count that has to come out even.

The three numbers of the count come from three places: requests from the ends of the lanes in Kafka, terminal records
from the response topic by the reader rule, rows from ClickHouse.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiokafka import TopicPartition

from pipeline.cli.account import Answer, account, ask
from pipeline.runtime.reading import read_to, reader
from pipeline.settings import Settings
from topics import names
from topics.codec import decode_response
from topics.reader import Reader

CLIENT_ID = "millrace-demo"
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


async def _poll(current: Callable[[], Awaitable[Count]]) -> Count:
    while not (found := await current()).is_even:  # noqa: ASYNC110 - nothing announces a row in ClickHouse
        await asyncio.sleep(0.5)
    return found


async def _produced(settings: Settings) -> int:
    lanes = [
        TopicPartition(names.Lane(name, latency_class).topic, shard)
        for name, model in settings.models.items()
        for latency_class in model.classes
        for shard in range(model.shards)
    ]
    async with reader(settings.kafka, client_id=CLIENT_ID) as log:
        return sum((await log.end_offsets(lanes)).values())


async def _terminals(settings: Settings) -> int:
    """Requests that have an accepted terminal record on the common response topic."""
    readers: dict[str, Reader] = defaultdict(Reader)
    partitions = [TopicPartition(names.RESPONSES, p) for p in range(settings.topics.response_partitions)]
    async with reader(settings.kafka, client_id=CLIENT_ID) as log:
        log.assign(partitions)
        ends = await log.end_offsets(partitions)
        await log.seek_to_beginning(*partitions)
        async for records in read_to(log, ends):
            for record in records:
                response = decode_response(record.value)
                readers[response.origin].feed(response)
    return sum(one.has_ended for one in readers.values())


def _query(settings: Settings, sql: str) -> Answer:
    with account(settings.clickhouse) as client:
        return ask(client, sql)
