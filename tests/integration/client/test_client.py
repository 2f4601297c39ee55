"""The asynchronous client on a real broker, answered by a script."""

import asyncio

import pytest

from pipeline.client import AnswerTimeout, Client, Timeouts
from tests.eventually import eventually
from tests.integration.client.responder import Asked, Responder
from topics.errors import (
    Cancelled,
    GenerationFailed,
    InvalidDeadline,
    ModelNotFound,
    QueueFull,
    SettingsError,
    TransportError,
)
from topics.names import origin_of
from topics.responses import CancelledRequest, ErrorBody, Failed, Rejected, Response

pytestmark = pytest.mark.integration

HELLO = [{"role": "user", "content": "Hello"}]
CHAT_BODY = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi there"}}]}


def _words(asked: Asked) -> list[Response]:
    return asked.whole(*(f"{asked.id}:{i} " for i in range(8)))


async def test_a_stream_yields_each_delta_and_then_its_result(client: Client, responder: Responder) -> None:
    responder.answer_with(lambda asked: asked.whole("Hel", "lo"))
    stream = client.stream(model=responder.lane.model, messages=HELLO, max_tokens=64)
    deltas = [(delta.seq, delta.text, delta.token_ids) async for delta in stream]
    result = await stream.result()
    asked = await responder.asked()
    assert deltas == [(0, "Hel", [0]), (1, "lo", [1])]
    assert (result.text, result.token_ids, result.finish_reason) == ("Hello", [0, 1], "stop")
    assert result.usage is not None and result.usage.total_tokens == 5
    assert result.timing_ms == {"finished": 12.5}
    assert stream.origin == asked.origin == result.origin
    assert asked.body == {"messages": HELLO, "max_tokens": 64, "stream": True}
    assert (asked.request.tenant, asked.reply) == ("acme", client.reply)


async def test_complete_returns_the_body_and_passes_the_envelope_on(client: Client, responder: Responder) -> None:
    responder.answer_with(lambda asked: [asked.started(), asked.completed(0, body=CHAT_BODY)])
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    result = await client.complete(
        model=responder.lane.model, messages=HELLO, id="order-42", deadline_ms=9000, session="s1", traceparent=trace
    )
    asked = await responder.asked()
    assert (result.text, result.body, result.id) == ("Hi there", CHAT_BODY, "order-42")
    assert (asked.request.deadline_ms, asked.request.session) == (9000, "s1")
    assert asked.headers == (("traceparent", trace.encode()),)
    assert asked.body == {"messages": HELLO}


async def test_two_hundred_streams_at_once_get_their_own_answers(client: Client, responder: Responder) -> None:
    responder.answer_with(_words)

    async def one(i: int) -> str:
        stream = client.stream(model=responder.lane.model, prompt="x", id=f"r{i}")
        return "".join([delta.text async for delta in stream])

    answers = await asyncio.gather(*(one(i) for i in range(200)))
    assert answers == ["".join(f"r{i}:{k} " for k in range(8)) for i in range(200)]
    assert client.waiting == 0


async def test_a_slow_reader_loses_nothing_and_holds_back_nobody(client: Client, responder: Responder) -> None:
    responder.answer_with(_words)
    slow = client.stream(model=responder.lane.model, prompt="x", id="slow")
    reading = aiter(slow)
    first = await anext(reading)
    others = [client.stream(model=responder.lane.model, prompt="x", id=f"q{i}").result() for i in range(20)]
    quick = await asyncio.gather(*others)
    rest = [delta.text async for delta in reading]
    assert [result.text[:3] for result in quick] == [f"q{i}:"[:3] for i in range(20)]
    assert first.text + "".join(rest) == "".join(f"slow:{k} " for k in range(8))


async def test_breaking_out_of_a_stream_cancels_its_request(client: Client, responder: Responder) -> None:
    stream = client.stream(model=responder.lane.model, prompt="x")
    responder.answer_with(lambda asked: [asked.started(), asked.delta(0, "one")])
    async for _ in stream:
        break
    cancellation = await responder.cancelled()
    assert (cancellation.id, cancellation.tenant, cancellation.model) == (stream.id, "acme", responder.lane.model)
    await eventually(lambda: client.waiting == 0)
    with pytest.raises(TransportError, match="its reader left"):
        await stream.result()


async def test_closing_a_context_early_cancels_before_it_returns(client: Client, responder: Responder) -> None:
    async with client.stream(model=responder.lane.model, prompt="x") as stream:
        assert client.waiting == 1
    assert (client.waiting, (await responder.cancelled()).id) == (0, stream.id)


async def test_a_cancelled_task_cancels_its_request(client: Client, responder: Responder) -> None:
    waiting = asyncio.create_task(client.complete(model=responder.lane.model, prompt="x", id="given-up"))
    await responder.asked()
    waiting.cancel()
    assert (await responder.cancelled()).id == "given-up"
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_finished_stream_is_not_cancelled(client: Client, responder: Responder) -> None:
    responder.answer_with(lambda asked: asked.whole("all"))
    async with client.stream(model=responder.lane.model, prompt="x") as stream:
        await stream.result()
    await client.cancel("marker", model=responder.lane.model)
    assert (await responder.cancelled()).id == "marker"


async def test_a_submitted_request_goes_on_without_a_reader(client: Client, responder: Responder) -> None:
    async with await client.submit(model=responder.lane.model, prompt="x", stream=True) as handle:
        asked = await responder.asked()
    await responder.say(asked, *asked.whole("later", "!"))
    assert (handle.origin, (await handle.result()).text) == (asked.origin, "later!")
    assert [delta.text async for delta in handle] == ["later", "!"]
    assert responder.cancellations_seen == 0


async def test_cancel_ends_a_request_with_cancelled(client: Client, responder: Responder) -> None:
    handle = await client.submit(model=responder.lane.model, prompt="x")
    asked = await responder.asked()
    await client.cancel(handle.id, model=responder.lane.model)
    assert (await responder.cancelled()).id == asked.id
    error = ErrorBody(message="cancelled by its sender", type="Cancelled", param=None, code="cancelled")
    await responder.say(asked, CancelledRequest(id=asked.id, origin=asked.origin, error=error))
    with pytest.raises(Cancelled, match="by its sender"):
        await handle.result()


async def test_requests_of_one_id_are_told_apart_by_origin(client: Client, responder: Responder) -> None:
    handles = [await client.submit(model=responder.lane.model, prompt="x", id="same", stream=True) for _ in range(2)]
    first, second = await responder.asked(), await responder.asked()
    await responder.say(second, *second.whole("second"))
    await responder.say(first, *first.whole("first"))
    texts = {handle.origin: (await handle.result()).text for handle in handles}
    assert texts == {first.origin: "first", second.origin: "second"}


async def test_answers_to_others_are_passed_over(client: Client, responder: Responder) -> None:
    stream = await client.stream(model=responder.lane.model, prompt="x", id="mine").open()
    asked = await responder.asked()
    stranger = Asked("theirs", asked.origin, asked.reply, asked.request, ())
    namesake = Asked("mine", origin_of("inference.requests.m.bulk", 0, 7), asked.reply, asked.request, ())
    await responder.say(stranger, *stranger.whole("wrong id"))
    await responder.say(namesake, *namesake.whole("wrong origin"))
    await responder.say(asked, *asked.whole("right"))
    assert (await stream.result()).text == "right"


async def test_a_restart_is_told_by_one_empty_delta(client: Client, responder: Responder) -> None:
    stream = await client.stream(model=responder.lane.model, prompt="x").open()
    asked = await responder.asked()
    reading = aiter(stream)
    await responder.say(asked, asked.started(), asked.delta(0, "void"))
    void = await anext(reading)
    again = asked.started(attempt="b", mode="restart", hop=1)
    await responder.say(asked, again, asked.delta(0, "good", attempt="b"), asked.completed(1, attempt="b"))
    rest = [delta async for delta in reading]
    result = await stream.result()
    assert void.text == "void"
    assert [(delta.restarted, delta.seq, delta.text) for delta in rest] == [(True, 0, ""), (False, 0, "good")]
    assert (result.text, result.restarts) == ("good", 1)


async def test_a_resumed_answer_goes_on_at_the_next_token(client: Client, responder: Responder) -> None:
    stream = await client.stream(model=responder.lane.model, prompt="x").open()
    asked = await responder.asked()
    await responder.say(asked, asked.started(), asked.delta(0, "one "), asked.delta(1, "two "))
    await responder.say(asked, asked.started(attempt="b", mode="resume", hop=1), asked.delta(2, "zombie"))
    await responder.say(asked, asked.delta(2, "three", attempt="b"), asked.completed(3, attempt="b"))
    assert "".join([delta.text async for delta in stream]) == "one two three"


async def test_a_rejected_request_raises_its_class(client: Client, responder: Responder) -> None:
    error = ErrorBody(
        message="lane is full", type="QueueFull", param=None, code="queue_full", retryable=True, retry_after_s=1.5
    )
    responder.answer_with(lambda asked: [Rejected(id=asked.id, origin=asked.origin, error=error)])
    with pytest.raises(QueueFull) as caught:
        await client.complete(model=responder.lane.model, prompt="x")
    assert (caught.value.retry_after_s, caught.value.retryable) == (1.5, True)


async def test_a_failure_in_mid_stream_comes_after_the_tokens(client: Client, responder: Responder) -> None:
    error = ErrorBody(message="engine", type="GenerationFailed", param=None, code="generation_failed", retryable=True)

    def fails(asked: Asked) -> list[Response]:
        end = Failed(id=asked.id, origin=asked.origin, attempt="a", next_seq=1, error=error)
        return [asked.started(), asked.delta(0, "one"), end]

    responder.answer_with(fails)
    seen = []
    with pytest.raises(GenerationFailed):
        async for delta in client.stream(model=responder.lane.model, prompt="x"):
            seen.append(delta.text)
    assert seen == ["one"]


async def test_a_silent_pipeline_ends_in_a_timeout_and_a_cancellation(client: Client, responder: Responder) -> None:
    with pytest.raises(AnswerTimeout, match=r"first_token_s of 0\.1 s"):
        await client.complete(model=responder.lane.model, prompt="x", timeouts=Timeouts(first_token_s=0.1))
    assert (await responder.cancelled()).id == (await responder.asked()).id


async def test_an_unknown_model_is_told_with_the_known_ones(client: Client, responder: Responder) -> None:
    with pytest.raises(ModelNotFound, match=responder.lane.model):
        await client.complete(model="nobody", prompt="x")


async def test_an_unknown_class_is_told_with_the_known_ones(client: Client, responder: Responder) -> None:
    with pytest.raises(ModelNotFound, match="it has: interactive"):
        await client.submit(model=responder.lane.model, latency_class="urgent", prompt="x")


async def test_a_request_that_cannot_be_accepted_is_not_sent(client: Client, responder: Responder) -> None:
    with pytest.raises(InvalidDeadline):
        await client.complete(model=responder.lane.model, prompt="x", deadline_ms=0)
    assert client.waiting == 0


async def test_a_response_partition_that_does_not_exist_is_told(responder: Responder) -> None:
    client = Client(kafka=responder.settings, pool=responder.pool, reply_partition=5)
    with pytest.raises(SettingsError, match=r"no partition 5; choose one of 0\.\.0"):
        await client.open()


async def test_a_missing_broker_is_told_in_time(unused_tcp_port: int) -> None:
    client = Client(brokers=f"127.0.0.1:{unused_tcp_port}", timeouts=Timeouts(connect_s=0.5))
    with pytest.raises(TransportError, match=r"connect_s of 0\.5 s"):
        await client.open()


async def test_a_producer_that_failed_for_good_is_replaced(client: Client, responder: Responder) -> None:
    responder.answer_with(lambda asked: asked.whole("ok"))
    producer = client._connection._sender._producer
    assert producer is not None
    producer._sender.sender_task.cancel()
    await eventually(lambda: producer._sender.sender_task.done())
    calls = [client.stream(model=responder.lane.model, prompt="x").result() for _ in range(5)]
    assert [result.text for result in await asyncio.gather(*calls)] == ["ok"] * 5
    assert client._connection._sender._producer is not producer


async def test_closing_the_client_cancels_streams_but_not_handles(responder: Responder) -> None:
    async with Client(kafka=responder.settings, pool=responder.pool) as client:
        stream = await client.stream(model=responder.lane.model, prompt="x").open()
        handle = await client.submit(model=responder.lane.model, prompt="x")
    assert (await responder.cancelled()).id == stream.id
    assert responder.cancellations_seen == 0
    with pytest.raises(TransportError, match="client was closed"):
        await handle.result()


async def test_a_client_that_is_not_open_says_so(responder: Responder) -> None:
    client = Client(kafka=responder.settings, pool=responder.pool)
    with pytest.raises(TransportError, match="not open"):
        await client.complete(model=responder.lane.model, prompt="x")
