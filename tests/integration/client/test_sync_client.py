"""The synchronous client, from threads that have no event loop."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.client import SyncClient
from tests.integration.client.responder import Responder
from topics.errors import ModelNotFound, TransportError

pytestmark = pytest.mark.integration

CHAT_BODY = {"choices": [{"index": 0, "text": "Hi there"}]}


@pytest.fixture
async def sync_client(responder: Responder) -> AsyncIterator[SyncClient]:
    client = SyncClient(kafka=responder.settings, pool=responder.pool)
    await asyncio.to_thread(client.open)
    yield client
    await asyncio.to_thread(client.close)


def _text(client: SyncClient, model: str, name: str) -> str:
    return "".join(delta.text for delta in client.stream(model=model, prompt="x", id=name))


async def test_a_stream_is_an_ordinary_iterator(sync_client: SyncClient, responder: Responder) -> None:
    responder.answer_with(lambda asked: asked.whole("Hel", "lo"))
    assert await asyncio.to_thread(_text, sync_client, responder.lane.model, "a") == "Hello"


async def test_threads_share_a_client(sync_client: SyncClient, responder: Responder) -> None:
    responder.answer_with(lambda asked: asked.whole(asked.id, "!"))
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(max_workers=8) as pool:
        names = [f"t{i}" for i in range(32)]
        calls = [loop.run_in_executor(pool, _text, sync_client, responder.lane.model, name) for name in names]
        assert await asyncio.gather(*calls) == [f"{name}!" for name in names]


async def test_complete_submit_and_cancel(sync_client: SyncClient, responder: Responder) -> None:
    responder.answer_with(lambda asked: [asked.started(), asked.completed(0, body=CHAT_BODY)])

    def work() -> tuple[str, str]:
        model = responder.lane.model
        text = sync_client.complete(model=model, prompt="x").text
        with sync_client.submit(model=model, prompt="x") as handle:
            later = handle.result().text
        sync_client.cancel("some-id", model=model)
        return text, later

    assert await asyncio.to_thread(work) == ("Hi there", "Hi there")
    assert (await responder.cancelled()).id == "some-id"


async def test_breaking_out_cancels(sync_client: SyncClient, responder: Responder) -> None:
    responder.answer_with(lambda asked: [asked.started(), asked.delta(0, "one")])

    def work() -> str:
        stream = sync_client.stream(model=responder.lane.model, prompt="x")
        for _ in stream:
            break
        return stream.id

    left = await asyncio.to_thread(work)
    assert (await responder.cancelled()).id == left


async def test_errors_are_those_of_the_asynchronous_client(sync_client: SyncClient) -> None:
    with pytest.raises(ModelNotFound):
        await asyncio.to_thread(sync_client.complete, model="nobody", prompt="x")


async def test_a_closed_client_says_so(responder: Responder) -> None:
    client = SyncClient(kafka=responder.settings, pool=responder.pool)
    stream = await asyncio.to_thread(lambda: client.open().stream(model=responder.lane.model, prompt="x"))
    await asyncio.to_thread(client.close)
    with pytest.raises(TransportError, match="was closed"):
        stream.result()
    with pytest.raises(TransportError, match="not open"):
        client.stream(model=responder.lane.model, prompt="x")
