"""Workers that die, come back, join and fail: every request ends once, goes on after its last token, and what is
finished is not run again.
"""

from collections.abc import Callable
from functools import partial

import msgspec
import pytest

from infra.devstack.kafka import KafkaBroker
from pipeline.settings import SimulatedDeployment
from tests.eventually import eventually
from tests.integration.worker.workshop import (
    SLOW,
    a_worker,
    a_worker_process,
    a_workshop,
    answers_of,
    records_of,
    undisturbed,
)
from tests.unit.worker.builders import a_body
from topics import names
from topics.codec import decode_return
from topics.responses import Completed, Delta, Progress, Started

pytestmark = [pytest.mark.integration, pytest.mark.slow]
Name = Callable[[str], str]


async def test_after_kill_9_in_mid_stream_a_successor_ends_the_request_once(
    kafka: KafkaBroker, unique_name: Name
) -> None:
    async with a_workshop(kafka.bootstrap, unique_name("m"), SLOW) as shop, answers_of(shop) as answers:
        victim = await a_worker_process(shop)
        try:
            await shop.owned(0)
            dispatch = shop.dispatch("long", body=a_body(max_tokens=60))
            await shop.send(dispatch)
            await eventually(lambda: len(answers.of("long", Delta)) > 5, within_s=40)
        finally:
            victim.kill()
            await victim.wait()
        async with a_worker(shop):
            await eventually(lambda: answers.ended("long"), within_s=40)
        first, second = answers.of("long", Started)
        assert (first.mode, second.mode) == ("fresh", "resume")
        assert second.term > first.term
        (end,) = answers.of("long", Completed)
        assert (end.attempt, end.next_seq, end.usage.completion_tokens) == (second.attempt, 60, 60)
        deltas = answers.of("long", Delta)
        assert {delta.attempt for delta in deltas} == {first.attempt, second.attempt}
        assert [delta.seq for delta in deltas] == list(range(60))
        assert [token for delta in deltas for token in delta.token_ids] == undisturbed(dispatch)[0]


async def test_what_finished_out_of_order_is_not_run_again_after_a_restart(
    kafka: KafkaBroker, unique_name: Name
) -> None:
    async with a_workshop(kafka.bootstrap, unique_name("m"), SLOW) as shop, answers_of(shop) as answers:
        first = await a_worker_process(shop)
        short = [f"s{i}" for i in range(5)]
        try:
            await shop.owned(0)
            await shop.send(
                shop.dispatch("long", body=a_body(max_tokens=400)),
                *(shop.dispatch(i, body=a_body(max_tokens=1)) for i in short),
            )
            await eventually(lambda: answers.ended(*short), within_s=40)

            async def has_metadata() -> bool:
                offset, metadata = await shop.committed()
                return offset == await shop.end() - 6 and metadata.startswith("m1:")

            await eventually(has_metadata, within_s=20)
        finally:
            first.kill()
            await first.wait()
        async with a_worker(shop, grace_s=0):
            await eventually(lambda: len(answers.of("long", Started)) == 2, within_s=40)
        assert [len(answers.of(i, Started)) for i in short] == [1] * 5


async def test_a_stream_goes_on_undisturbed_while_another_worker_joins(kafka: KafkaBroker, unique_name: Name) -> None:
    async with (
        a_workshop(kafka.bootstrap, unique_name("m"), SLOW, slots=2) as shop,
        answers_of(shop) as answers,
        a_worker(shop),
    ):
        await shop.owned(0, 1)
        requests = [shop.dispatch(f"r{slot}", body=a_body(max_tokens=150)) for slot in range(2)]
        await shop.send(requests[0], slot=0)
        await shop.send(requests[1], slot=1)
        await eventually(lambda: all(len(answers.of(f"r{i}", Delta)) > 2 for i in range(2)), within_s=30)
        async with a_worker(shop):
            await eventually(lambda: answers.ended("r0", "r1"), within_s=40)
        modes = sorted([started.mode for started in answers.of(f"r{i}", Started)] for i in range(2))
        assert modes == [["fresh"], ["fresh", "resume"]]
        tokens = [[token for d in answers.of(f"r{i}", Delta) for token in d.token_ids] for i in range(2)]
        assert tokens == [undisturbed(request)[0] for request in requests]


async def test_requests_outlive_an_engine_that_dies(kafka: KafkaBroker, unique_name: Name) -> None:
    """The seed's first engine dies of its 10th request; the second outlives the trial of all that it ran."""
    mortal = SimulatedDeployment(
        fixed_us=2000, per_prefill_token_us=0, per_sequence_us=0, per_kv_token_us=0, crash_every=12, seed=21
    )
    async with (
        a_workshop(kafka.bootstrap, unique_name("m"), mortal) as shop,
        answers_of(shop) as answers,
        a_worker(shop),
    ):
        ids = [f"r{i}" for i in range(20)]
        await shop.send(*(shop.dispatch(i) for i in ids))
        await eventually(lambda: answers.ended(*ids), within_s=60)
        assert [answers.kinds(i)[-1] for i in ids] == ["completed"] * 20
        assert max(len(answers.of(i, Started)) for i in ids) > 1


async def test_requests_go_on_however_often_they_are_taken_over(kafka: KafkaBroker, unique_name: Name) -> None:
    async with (
        a_workshop(kafka.bootstrap, unique_name("m"), SLOW, session_timeout_ms=2000) as shop,
        answers_of(shop) as answers,
    ):
        told = shop.dispatch("told", body=a_body(max_tokens=200, content="as it comes"))
        whole = shop.dispatch("whole", body=a_body(max_tokens=250, content="all at once", stream=False))
        await shop.send(told, whole)

        def has_come_on(deaths: int) -> bool:
            return (
                len(answers.of("told", Started)) > deaths
                and sum(len(delta.token_ids) for delta in answers.of("told", Delta)) > 20 * (deaths + 1)
                and len(answers.of("whole", Progress)) > deaths
            )

        for deaths in range(3):
            worker = await a_worker_process(shop)
            try:
                await eventually(partial(has_come_on, deaths), within_s=40)
            finally:
                worker.kill()
                await worker.wait()
        async with a_worker(shop):
            await eventually(lambda: answers.ended("told", "whole"), within_s=40)

        # No owner's marker is before the dispatches, so that also the first attempt looks what there is.
        assert [begun.mode for begun in answers.of("told", Started)] == ["resume"] * 4
        deltas = answers.of("told", Delta)
        tokens, text = undisturbed(told)
        assert [token for delta in deltas for token in delta.token_ids] == tokens
        assert "".join(delta.text for delta in deltas) == text
        tokens, text = undisturbed(whole)
        (end,) = answers.of("whole", Completed)
        assert end.body["choices"][0]["message"]["content"] == text
        assert (end.usage.completion_tokens, end.body["usage"]["completion_tokens"]) == (len(tokens), len(tokens))
        assert end.attempt == answers.of("whole", Started)[-1].attempt
        progress = [token for record in answers.of("whole", Progress) for token in record.token_ids]
        assert progress == tokens[: end.next_seq]


async def test_a_drained_worker_s_streams_go_on_with_the_next_hop(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_workshop(kafka.bootstrap, unique_name("m"), SLOW, slots=2) as shop, answers_of(shop) as answers:
        request = shop.dispatch("moved", body=a_body(max_tokens=100, stream=False))
        returns = records_of(shop, names.returns_topic(shop.model))
        async with returns as returned:
            async with a_worker(shop, grace_s=0) as stop:
                await shop.owned(0)
                await shop.send(request)
                await eventually(lambda: len(answers.of("moved", Progress)) > 0, within_s=30)
                await stop()
            await eventually(lambda: len(returned) == 1, within_s=20)
            back = decode_return(returned[0].value)
            told = sum(len(record.token_ids) for record in answers.of("moved", Progress))
            async with a_worker(shop):
                await shop.send(
                    msgspec.structs.replace(back.dispatch, hop=1, first_dispatched_at_ms=back.dispatched_at_ms), slot=1
                )
                await eventually(lambda: answers.ended("moved"), within_s=40)
        second = answers.of("moved", Started)[-1]
        assert (second.mode, second.hop) == ("resume", 1)
        assert next(p.seq for p in answers.of("moved", Progress) if p.attempt == second.attempt) == told
        (end,) = answers.of("moved", Completed)
        assert end.body["choices"][0]["message"]["content"] == undisturbed(request)[1]
