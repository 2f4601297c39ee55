"""A broker that dies in mid-stream and comes back."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.devstack.kafka import KafkaBroker
from pipeline.client import Client, Timeouts
from pipeline.settings import KafkaSettings
from tests.eventually import eventually
from tests.integration.client.responder import Asked, Responder
from topics.errors import TransportError

pytestmark = [pytest.mark.integration, pytest.mark.slow]

STREAMS = 40
TOKENS = 30


@pytest.fixture
def mortal_broker(tmp_path: Path) -> Iterator[KafkaBroker]:
    broker = KafkaBroker(folder=tmp_path / "kafka", log=tmp_path / "kafka.log")
    broker.start()
    yield broker
    broker.close()


async def _text(client: Client, responder: Responder, name: str) -> str:
    stream = client.stream(model=responder.lane.model, prompt="x", id=name)
    return "".join([delta.text async for delta in stream])


def _word(asked: Asked, seq: int) -> str:
    return f"{asked.id}/{seq} "


async def _say_tokens(responder: Responder, asked: Asked, start: int, end: int) -> None:
    await responder.say(asked, *(asked.delta(seq, _word(asked, seq)) for seq in range(start, end)))


async def test_streams_go_on_after_the_broker_was_killed(
    mortal_broker: KafkaBroker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    settings = KafkaSettings(brokers=mortal_broker.bootstrap)
    async with (
        Responder(settings, model="m", pool="p") as responder,
        Client(kafka=settings, pool="p") as client,
    ):
        reading = [asyncio.create_task(_text(client, responder, f"r{i}")) for i in range(STREAMS)]
        asked = [await responder.asked() for _ in reading]
        await asyncio.gather(*(responder.say(one, one.started()) for one in asked))
        await asyncio.gather(*(_say_tokens(responder, one, 0, TOKENS // 2) for one in asked))

        await asyncio.to_thread(mortal_broker.kill)
        saying = [asyncio.create_task(_say_tokens(responder, one, TOKENS // 2, TOKENS)) for one in asked]
        reading.append(asyncio.create_task(_text(client, responder, "sent-in-the-dark")))
        await eventually(lambda: "cannot be reached" in caplog.text, within_s=20)
        await asyncio.to_thread(mortal_broker.start)

        await asyncio.gather(*saying)
        asked.append(await responder.asked())
        await responder.say(asked[-1], asked[-1].started())
        await _say_tokens(responder, asked[-1], 0, TOKENS)
        await asyncio.gather(*(responder.say(one, one.completed(TOKENS)) for one in asked))
        texts = await asyncio.gather(*reading)
        await eventually(lambda: "reachable again" in caplog.text)

    said = {"".join(_word(one, seq) for seq in range(TOKENS)) for one in asked}
    ours = [record.levelname for record in caplog.records if record.name == "pipeline.client.outages"]
    assert set(texts) == said
    assert ours == ["WARNING", "INFO"]


async def test_a_request_that_was_given_up_in_an_outage_is_cancelled_after_it(mortal_broker: KafkaBroker) -> None:
    settings = KafkaSettings(brokers=mortal_broker.bootstrap)
    hasty = Timeouts(send_s=0.5)
    async with (
        Responder(settings, model="m", pool="p") as responder,
        Client(kafka=settings, pool="p", timeouts=hasty) as client,
    ):
        responder.answer_with(lambda asked: asked.whole("ok"))
        await client.stream(model="m", prompt="x", id="before").result()
        await asyncio.to_thread(mortal_broker.kill)
        with pytest.raises(TransportError, match=r"send_s of 0\.5 s"):
            await client.complete(model="m", prompt="x", id="hasty")
        responder.answer_with(lambda asked: [asked.started()])
        await asyncio.to_thread(mortal_broker.start)
        sent = [await responder.asked(), await responder.asked()]
        assert [asked.id for asked in sent] == ["before", "hasty"]
        assert (await responder.cancelled()).id == "hasty"
