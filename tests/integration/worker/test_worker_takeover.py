"""Workers that die, come back, join and fail: every request ends once, and what is finished is not run again."""

from collections.abc import Callable

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
)
from tests.unit.worker.builders import a_body
from topics.responses import Completed, Delta, Started

pytestmark = [pytest.mark.integration, pytest.mark.slow]
Name = Callable[[str], str]


async def test_after_kill_9_in_mid_stream_a_successor_ends_the_request_once(
    kafka: KafkaBroker, unique_name: Name
) -> None:
    async with a_workshop(kafka.bootstrap, unique_name("m"), SLOW) as shop, answers_of(shop) as answers:
        victim = await a_worker_process(shop)
        try:
            await shop.owned(0)
            await shop.send(shop.dispatch("long", body=a_body(max_tokens=60)))
            await eventually(lambda: len(answers.of("long", Delta)) > 5, within_s=40)
        finally:
            victim.kill()
            await victim.wait()
        async with a_worker(shop):
            await eventually(lambda: answers.ended("long"), within_s=40)
        first, second = answers.of("long", Started)
        assert (first.mode, second.mode) == ("fresh", "restart")
        assert second.term > first.term
        (end,) = answers.of("long", Completed)
        assert (end.attempt, end.next_seq) == (second.attempt, 60)


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
        assert modes == [["fresh"], ["fresh", "restart"]]


async def test_requests_outlive_engines_that_die(kafka: KafkaBroker, unique_name: Name) -> None:
    mortal = SimulatedDeployment(
        fixed_us=2000, per_prefill_token_us=0, per_sequence_us=0, per_kv_token_us=0, crash_every=12, seed=3
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
