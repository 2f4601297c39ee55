"""How far behind the exporter is: what its group has not committed of the partitions that it owns."""

import asyncio
import logging
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

logger = logging.getLogger(__name__)

EVERY_S: Final = 5.0
"""How often the broker is asked."""


async def watch_lag(consumer: AIOKafkaConsumer, lags: dict[int, int]) -> None:
    """Keep `lags` (by partition, of those that are assigned) up to date until cancelled."""
    while True:
        try:
            found = await lag_of(consumer)
        except KafkaError as error:  # the values of before stand, and grow stale with the outage that is told elsewhere
            logger.debug("the exporter's lag is not known: %r", error)
        else:
            lags.clear()
            lags.update(found)
        await asyncio.sleep(EVERY_S)


async def lag_of(consumer: AIOKafkaConsumer) -> dict[int, int]:
    """Records behind the committed offset, by partition; where nothing is committed yet, behind the present place.

    Raises:
        KafkaError: the broker did not tell, or a partition was taken away meanwhile.
    """
    owned = list(consumer.assignment())
    ends = await consumer.end_offsets(owned)
    return {at.partition: max(ends[at] - await _exported(consumer, at), 0) for at in owned if at in ends}


async def _exported(consumer: AIOKafkaConsumer, at: TopicPartition) -> int:
    committed = await consumer.committed(at)
    return int(await consumer.position(at) if committed is None else committed)
