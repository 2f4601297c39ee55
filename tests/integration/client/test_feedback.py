"""What a client says about an answer is on its topic when the call returns."""

from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from pipeline.client import Client
from pipeline.runtime import kafka
from tests.integration.client.responder import Responder
from topics import names
from topics.codec import decode_feedback
from topics.errors import InvalidRequest
from topics.feedback import Feedback

pytestmark = pytest.mark.integration

PLACE = TopicPartition(names.FEEDBACK, 0)


@pytest.fixture
async def consumer(responder: Responder) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = kafka.consumer(responder.settings, client_id="test")
    await consumer.start()
    consumer.assign([PLACE])
    await consumer.seek_to_end(PLACE)
    yield consumer
    await consumer.stop()


async def test_feedback_is_keyed_by_the_request_and_says_what_was_said(
    client: Client, consumer: AIOKafkaConsumer
) -> None:
    before = (await consumer.end_offsets([PLACE]))[PLACE]
    await client.feedback("order-42", signal="thumbs", model="tiny", score=0, source="web")

    record = await consumer.getone()
    assert record.offset >= before
    assert record.key == b"order-42"
    assert decode_feedback(record.value) == Feedback(
        id="order-42", signal="thumbs", score=0.0, source="web", tenant="acme", model="tiny"
    )


async def test_feedback_that_says_nothing_is_refused_before_it_is_sent(client: Client) -> None:
    with pytest.raises(InvalidRequest, match="neither a score nor a label"):
        await client.feedback("order-42", signal="thumbs")
