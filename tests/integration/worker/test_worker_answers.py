"""A worker on the real broker: dispatches in, answers out, everything acknowledged."""

from collections.abc import Callable

import pytest

from infra.devstack.kafka import KafkaBroker
from tests.eventually import eventually
from tests.integration.worker.workshop import FREE, SLOW, a_worker, a_workshop, answers_of, records_of
from tests.unit.worker.builders import a_body
from topics import names
from topics.codec import decode_heartbeat, decode_return
from topics.dispatches import Cancel
from topics.headers import header
from topics.requests import ReplyTo
from topics.responses import CancelledRequest, Completed, Delta, Expired, Started

pytestmark = [pytest.mark.integration, pytest.mark.slow]
Name = Callable[[str], str]


async def test_a_streamed_request_is_answered_token_by_token(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_workshop(kafka.bootstrap, unique_name("m")) as shop, answers_of(shop) as answers, a_worker(shop):
        await shop.send(shop.dispatch("r1", body=a_body(max_tokens=5)))
        await eventually(lambda: answers.ended("r1"), within_s=30)
        deltas = answers.of("r1", Delta)  # tokens that wait together share a record
        assert answers.kinds("r1") == ["started", *["delta"] * len(deltas), "completed"]
        tokens = [(delta.seq + place, token) for delta in deltas for place, token in enumerate(delta.token_ids)]
        assert [seq for seq, _ in tokens] == [0, 1, 2, 3, 4]
        (end,) = answers.of("r1", Completed)
        assert (end.next_seq, end.finish_reason, end.usage.completion_tokens) == (5, "length", 5)


async def test_a_request_that_does_not_stream_gets_one_body(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_workshop(kafka.bootstrap, unique_name("m")) as shop, answers_of(shop) as answers, a_worker(shop):
        await shop.send(shop.dispatch("r1", body=a_body(stream=False, max_tokens=40)))
        await eventually(lambda: answers.ended("r1"), within_s=30)
        assert answers.kinds("r1") == ["started", "progress", "completed"]
        body = answers.of("r1", Completed)[0].body
        assert (body["object"], body["usage"]["completion_tokens"]) == ("chat.completion", 40)


async def test_everything_is_acknowledged_at_the_end(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_workshop(kafka.bootstrap, unique_name("m")) as shop, answers_of(shop) as answers:
        async with a_worker(shop) as stopped:
            ids = [f"r{i}" for i in range(50)]
            await shop.send(*(shop.dispatch(i) for i in ids))
            await eventually(lambda: answers.ended(*ids), within_s=30)
            assert await stopped() == 0
        assert await shop.committed() == (await shop.end(), "")


async def test_a_past_deadline_costs_no_token(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_workshop(kafka.bootstrap, unique_name("m")) as shop, answers_of(shop) as answers, a_worker(shop):
        await shop.send(shop.dispatch("late", deadline_at_ms=1))
        await eventually(lambda: answers.ended("late"), within_s=30)
        assert answers.kinds("late") == ["started", "expired"]
        assert answers.of("late", Expired)[0].error.code == "deadline_exceeded"


async def test_a_running_request_is_cancelled_with_its_usage(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_workshop(kafka.bootstrap, unique_name("m"), SLOW) as shop, answers_of(shop) as answers, a_worker(shop):
        await shop.send(shop.dispatch("r1", body=a_body(max_tokens=4000)))
        await eventually(lambda: len(answers.of("r1", Delta)) > 2, within_s=30)
        await shop.send(Cancel(id="r1", tenant="other"), Cancel(id="r1", tenant="acme"))
        await eventually(lambda: answers.ended("r1"), within_s=30)
        (end,) = answers.of("r1", CancelledRequest)
        assert end.usage.completion_tokens == end.next_seq < 4000


async def test_bytes_that_are_no_record_go_to_the_dead_letters(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_workshop(kafka.bootstrap, unique_name("m")) as shop, answers_of(shop) as answers, a_worker(shop):
        missing = shop.dispatch("r0", reply=ReplyTo(topic="inference.responses.nowhere", partition=0))
        await shop.send(b"not json", missing, shop.dispatch("r1"))
        await eventually(lambda: answers.ended("r1"), within_s=30)
        async with records_of(shop, names.DEAD_LETTERS) as letters:

            def reasons() -> list[bytes | None]:
                ours = [r for r in letters if header(r.headers, "__dlq.errors.topic") == shop.dispatch_topic.encode()]
                return [header(r.headers, "__dlq.errors.code") for r in ours]

            await eventually(lambda: reasons() == [b"undecodable", b"invalid_reply"], within_s=30)

        async def is_committed() -> bool:
            return (await shop.committed())[0] == await shop.end()

        await eventually(is_committed, within_s=30)


async def test_an_answer_that_the_broker_refuses_holds_up_no_other(kafka: KafkaBroker, unique_name: Name) -> None:
    pool = unique_name("tiny")
    async with a_workshop(kafka.bootstrap, unique_name("m"), pool=pool) as shop:
        topic = names.responses_topic(pool)
        tiny = ReplyTo(topic=topic, partition=0)
        await shop.limit_records(topic, max_bytes=1500)
        async with answers_of(shop, topic=topic) as answers, a_worker(shop):
            await shop.owned(0)
            await shop.send(shop.dispatch("large", reply=tiny, body=a_body(stream=False, max_tokens=400)))
            await eventually(lambda: len(answers.of("large", Started)) == 3, within_s=30)
            await shop.send(shop.dispatch("small", reply=tiny, body=a_body(max_tokens=1)))
            await eventually(lambda: answers.ended("small"), within_s=30)
        assert await shop.committed() == (await shop.end(), "")
        assert not answers.ended("large")


async def test_a_drain_hands_back_what_does_not_finish(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_workshop(kafka.bootstrap, unique_name("m"), SLOW) as shop, answers_of(shop) as answers:
        async with a_worker(shop, grace_s=0.2) as stopped:
            await shop.send(shop.dispatch("long", body=a_body(max_tokens=4000)))
            await eventually(lambda: len(answers.of("long", Delta)) > 2, within_s=30)
            assert await stopped() == 0
        async with records_of(shop, names.returns_topic(shop.model)) as returns:
            await eventually(lambda: len(returns) == 1, within_s=30)
            returned = decode_return(returns[0].value)
            assert (returned.dispatch.id, returned.reason) == ("long", "drained")
        assert await shop.committed() == (await shop.end(), "")
        assert "completed" not in answers.kinds("long")


async def test_heartbeats_tell_slots_and_what_was_seen(kafka: KafkaBroker, unique_name: Name) -> None:
    async with (
        a_workshop(kafka.bootstrap, unique_name("m"), FREE) as shop,
        answers_of(shop) as answers,
        a_worker(shop),
        records_of(shop, names.workers_topic(shop.model)) as beats,
    ):
        await shop.send(shop.dispatch("r1", seq=7), slot=0)
        await eventually(lambda: answers.ended("r1"), within_s=30)

        def last_slots() -> list[tuple[int, int, dict[str, int]]]:
            newest = decode_heartbeat(beats[-1].value)
            return [(slot.partition, slot.term, slot.seen) for slot in newest.slots]

        def finished() -> list[tuple[str, int]]:
            told = [f for beat in beats for f in decode_heartbeat(beat.value).finished]
            return [(f.outcome, f.completion_tokens) for f in told]

        term = int(answers.of("r1", Started)[0].term)
        await eventually(lambda: last_slots() == [(0, term, {"p1": 7})], within_s=30)
        await eventually(lambda: finished() == [("completed", 16)], within_s=30)
