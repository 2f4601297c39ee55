"""Going on with an answer from the log, by another client than the one that asked."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka import TopicPartition
from aiokafka.admin.records_to_delete import RecordsToDelete

from pipeline.client import AnswerNotFound, Client, Resumed, SyncClient, Timeouts
from pipeline.runtime import kafka
from tests.eventually import eventually
from tests.integration.client.responder import Asked, Responder
from topics.errors import QueueFull, TransportError
from topics.responses import ErrorBody, Rejected, Response

pytestmark = pytest.mark.integration

SHORT = Timeouts(find_s=0.1)


@pytest.fixture
async def other(responder: Responder) -> AsyncIterator[Client]:
    """A client that has sent nothing."""
    async with Client(kafka=responder.settings, pool=responder.pool) as client:
        yield client


async def _asked(client: Client, responder: Responder, *records: str, id: str = "order-42") -> Asked:
    """A request of which the words were said so far."""
    await client.submit(model=responder.lane.model, prompt="x", id=id, stream=True)
    asked = await responder.asked()
    if records:
        await responder.say(asked, asked.started(), *(asked.delta(seq, word) for seq, word in enumerate(records)))
    return asked


async def _all(resumed: Resumed) -> list[tuple[int, str]]:
    return [(-1 if delta.restarted else delta.seq, delta.text) async for delta in resumed]


async def test_the_rest_comes_from_the_log_and_then_live(client: Client, other: Client, responder: Responder) -> None:
    asked = await _asked(client, responder, "a", "b", "c")
    resumed = other.resume(asked.id, after_seq=0)
    reading = aiter(resumed)
    logged = [(await anext(reading)).text, (await anext(reading)).text]
    await responder.say(asked, asked.delta(3, "d"), asked.completed(4))
    live = [delta.text async for delta in reading]
    result = await resumed.result()
    assert (logged, live) == (["b", "c"], ["d"])
    assert (resumed.origin, result.text, result.token_ids) == (asked.origin, "abcd", [0, 1, 2, 3])


async def test_an_answer_that_has_ended_is_there_as_well(client: Client, other: Client, responder: Responder) -> None:
    responder.answer_with(lambda asked: asked.whole("a", "b", "c"))
    asked = await _asked(client, responder)
    assert await _all(other.resume(asked.id, after_seq=1)) == [(2, "c")]
    assert await _all(other.resume(asked.id)) == [(0, "a"), (1, "b"), (2, "c")]
    assert await _all(other.resume(asked.id, after_seq=2)) == []


async def test_a_reader_that_is_ahead_waits_for_its_token(client: Client, other: Client, responder: Responder) -> None:
    asked = await _asked(client, responder, "a")
    reading = asyncio.ensure_future(_all(other.resume(asked.id, after_seq=2)))
    await responder.say(asked, asked.delta(1, "b"), asked.delta(2, "c"), asked.delta(3, "d"), asked.completed(4))
    assert await reading == [(3, "d")]


async def _restarted(client: Client, responder: Responder) -> Asked:
    """A request that began again after two tokens, and has three now."""
    asked = await _asked(client, responder, "void", "void")
    again = [asked.delta(seq, word, attempt="b") for seq, word in enumerate(("a", "b", "c"))]
    restart = asked.started(attempt="b", mode="restart", hop=1)
    await responder.say(asked, restart, asked.delta(2, "zombie"), *again, asked.completed(3, attempt="b"))
    return asked


async def test_a_restart_is_told_and_the_answer_begins_again(
    client: Client, other: Client, responder: Responder
) -> None:
    asked = await _restarted(client, responder)
    resumed = other.resume(asked.id, after_seq=1)
    assert await _all(resumed) == [(-1, ""), (0, "a"), (1, "b"), (2, "c")]
    assert (await resumed.result()).restarts == 1


async def test_a_restart_that_the_reader_knows_of_is_not_told_again(
    client: Client, other: Client, responder: Responder
) -> None:
    asked = await _restarted(client, responder)
    assert await _all(other.resume(asked.id, after_seq=1, restarts=1)) == [(2, "c")]


async def test_a_restart_that_comes_later_is_told_when_it_comes(
    client: Client, other: Client, responder: Responder
) -> None:
    asked = await _asked(client, responder, "void")
    reading = asyncio.ensure_future(_all(other.resume(asked.id, after_seq=0)))
    restart = asked.started(attempt="b", mode="restart", hop=1)
    await responder.say(asked, restart, asked.delta(0, "a", attempt="b"), asked.completed(1, attempt="b"))
    assert (await reading)[-1] == (0, "a")


async def test_an_unknown_id_is_told_in_time(other: Client) -> None:
    with pytest.raises(AnswerNotFound, match=r"no answer to request nobody.*find_s of 0\.1 s"):
        await other.resume("nobody", timeouts=SHORT).result()


async def test_an_origin_finds_a_request_that_still_waits(client: Client, other: Client, responder: Responder) -> None:
    asked = await _asked(client, responder)
    resumed = await other.resume(asked.id, origin=asked.origin, timeouts=SHORT).open()
    await responder.say(asked, *asked.whole("at", "last"))
    assert await _all(resumed) == [(0, "at"), (1, "last")]


async def test_an_origin_tells_requests_of_one_id_apart(client: Client, other: Client, responder: Responder) -> None:
    responder.answer_with(lambda asked: asked.whole(asked.origin))
    first = await _asked(client, responder, id="same")
    second = await _asked(client, responder, id="same")
    assert (await other.resume("same", origin=first.origin).result()).text == first.origin
    assert (await other.resume("same").result()).text == second.origin


@pytest.mark.parametrize(
    ("offset", "said"), [("1000000", "no request at"), ("0", "is 'order-42', not 'order-43'"), ("x", "no address")]
)
async def test_an_origin_that_is_wrong_is_told(
    client: Client, other: Client, responder: Responder, offset: str, said: str
) -> None:
    asked = await _asked(client, responder)
    wrong = f"{asked.origin.rpartition('/')[0]}/{offset}"
    with pytest.raises(AnswerNotFound, match=said):
        await other.resume("order-43", origin=wrong).result()


async def test_a_beginning_that_is_not_kept_any_more_is_told(
    client: Client, other: Client, responder: Responder
) -> None:
    asked = await _asked(client, responder, "a", "b")
    admin = kafka.admin(responder.settings)
    await admin.start()
    place = TopicPartition(asked.reply.topic, asked.reply.partition)
    await admin.delete_records({place: RecordsToDelete(1)})
    await admin.close()
    with pytest.raises(AnswerNotFound, match="beginning of the answer"):
        await other.resume(asked.id).result()


async def test_an_answer_that_did_not_stream_has_its_body(client: Client, other: Client, responder: Responder) -> None:
    body = {"choices": [{"index": 0, "text": "Hi"}]}
    responder.answer_with(lambda asked: [asked.started(), asked.completed(0, body=body)])
    asked = await _asked(client, responder)
    result = await other.resume(asked.id).result()
    assert (result.text, result.body) == ("Hi", body)


async def test_an_answer_that_failed_raises_its_class(client: Client, other: Client, responder: Responder) -> None:
    error = ErrorBody(message="full", type="QueueFull", param=None, code="queue_full", retryable=True)

    def rejects(asked: Asked) -> list[Response]:
        return [Rejected(id=asked.id, origin=asked.origin, error=error)]

    responder.answer_with(rejects)
    asked = await _asked(client, responder)
    with pytest.raises(QueueFull):
        await _all(other.resume(asked.id))


async def test_leaving_ends_the_reading_and_not_the_request(
    client: Client, other: Client, responder: Responder
) -> None:
    asked = await _asked(client, responder, "a", "b")
    async with other.resume(asked.id) as resumed:
        async for delta in resumed:
            assert delta.text == "a"
            break
    await eventually(lambda: not other._connection._followers)
    await other.cancel("marker", model=responder.lane.model)
    assert (await responder.cancelled()).id == "marker"
    with pytest.raises(TransportError, match="resume again"):
        await resumed.result()
    await responder.say(asked, asked.completed(2))
    assert (await other.resume(asked.id).result()).text == "ab"


async def test_closing_the_client_ends_what_it_follows(client: Client, responder: Responder) -> None:
    asked = await _asked(client, responder, "a")
    async with Client(kafka=responder.settings, pool=responder.pool) as other:
        resumed = await other.resume(asked.id).open()
    with pytest.raises(TransportError, match="client was closed"):
        await resumed.result()


async def test_a_silent_answer_is_given_up(client: Client, other: Client, responder: Responder) -> None:
    asked = await _asked(client, responder, "a")
    with pytest.raises(TransportError, match=r"idle_s of 0\.1 s"):
        await other.resume(asked.id, timeouts=Timeouts(idle_s=0.1)).result()


async def test_the_synchronous_client_resumes_too(client: Client, responder: Responder) -> None:
    responder.answer_with(lambda asked: asked.whole("a", "b", "c"))
    asked = await _asked(client, responder)

    def read() -> list[str]:
        with SyncClient(kafka=responder.settings, pool=responder.pool) as other:
            return [delta.text for delta in other.resume(asked.id, after_seq=0)]

    assert await asyncio.to_thread(read) == ["b", "c"]
