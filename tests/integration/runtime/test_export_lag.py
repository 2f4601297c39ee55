"""How far behind the span exporter is, on a real broker."""

from collections.abc import Callable

import pytest
from aiokafka.admin import NewTopic

from infra.devstack.kafka import KafkaBroker
from pipeline.otel.lag import lag_of
from pipeline.runtime import kafka as clients
from pipeline.settings import KafkaSettings

pytestmark = [pytest.mark.integration, pytest.mark.slow]


async def test_the_lag_counts_from_what_was_committed_not_from_what_was_read(
    kafka: KafkaBroker, unique_name: Callable[[str], str]
) -> None:
    settings, topic = KafkaSettings(brokers=kafka.bootstrap), unique_name("trace")
    admin = clients.admin(settings)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    producer = clients.producer(settings, client_id="lag")
    consumer = clients.consumer(settings, group=topic, auto_offset_reset="earliest", client_id="lag")
    await producer.start()
    try:
        consumer.subscribe([topic])
        await consumer.start()
        for number in range(5):
            await producer.send_and_wait(topic, str(number).encode(), partition=0)

        assert await lag_of(consumer) == {0: 5}
        read = 0
        while read < 5:
            read += sum(map(len, (await consumer.getmany(timeout_ms=1000)).values()))
        await consumer.commit()
        await producer.send_and_wait(topic, b"5", partition=0)
        assert sum(map(len, (await consumer.getmany(timeout_ms=10_000)).values())) == 1
        assert await lag_of(consumer) == {0: 1}
    finally:
        await consumer.stop()
        await producer.stop()
