"""Engines that hang or die of a request, workers that are put out, records that are gone: on a real broker."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from infra.devstack.kafka import KafkaBroker
from pipeline.runtime import kafka as clients
from pipeline.settings import SimulatedDeployment
from tests.eventually import eventually
from tests.integration.worker.faults import POISON, mortal, stalling
from tests.integration.worker.workshop import (
    FREE,
    SLOW,
    Answers,
    Workshop,
    a_worker,
    a_workshop,
    answers_of,
    records_of,
)
from tests.unit.worker.builders import a_body
from topics import names
from topics.codec import decode_heartbeat, encode
from topics.dispatches import Dispatch
from topics.headers import TABLE, header
from topics.responses import Completed, Delta, Failed, Started
from topics.trace import decode_rows

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]
Name = Callable[[str], str]

HASTY = SimulatedDeployment(
    fixed_us=5000, per_prefill_token_us=0, per_sequence_us=0, per_kv_token_us=0, step_limit_s=1.0
)
_PROCESS = """
import sys, msgspec
from pipeline.runtime.process import run
from pipeline.settings import Settings
from pipeline.worker import watchdogs
from pipeline.worker.main import main
from tests.integration.worker.faults import deadly
settings = msgspec.json.decode(sys.argv[1], type=Settings)
make = deadly if sys.argv[4] == "deadly" else None
watchdogs.FENCED_WITHIN_S = 60.0  # on a busy machine, too
work = lambda stop: main(settings, sys.argv[2], stop, worker_id=sys.argv[3], grace_s=0, make_engine=make)
sys.exit(run(work, log_level="INFO"))
"""


@asynccontextmanager
async def _process(shop: Workshop, worker_id: str, engine: str = "") -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker as a process, killed at the end of the block."""
    settings = json.dumps(msgspec.to_builtins(shop.settings))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PROCESS, settings, shop.deployment, worker_id, engine, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _slots(beats: list[Any], worker: str) -> int:
    """Slots of a worker by its newest heartbeat."""
    mine = [beat for record in beats if (beat := decode_heartbeat(record.value)).worker == worker]
    return len(mine[-1].slots) if mine else 0


def _has_ended_or_shares(process: asyncio.subprocess.Process, beats: list[Any]) -> str:
    """Whether the worker that stalls has ended, or has one of the two slots again; empty for neither."""
    if process.returncode is not None:
        return "ended"
    return "shares" if (_slots(beats, "stalls"), _slots(beats, "steady")) == (1, 1) else ""


def _letters(records: list[Any], shop: Workshop) -> list[bytes | None]:
    """Reasons of the dead letters of a workshop."""
    ours = [r for r in records if header(r.headers, "__dlq.errors.topic") == shop.dispatch_topic.encode()]
    return [header(record.headers, "__dlq.errors.code") for record in ours]


async def test_an_engine_that_makes_no_step_is_killed_and_its_requests_go_on(
    kafka: KafkaBroker, unique_name: Name, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        a_workshop(kafka.bootstrap, unique_name("m"), HASTY) as shop,
        answers_of(shop) as answers,
        a_worker(shop, make_engine=stalling),
    ):
        ids = ["r0", "r1"]
        await shop.send(*(shop.dispatch(i, body=a_body(max_tokens=30)) for i in ids))
        await eventually(lambda: answers.ended(*ids), within_s=30)
        assert [len(answers.of(i, Started)) for i in ids] == [2, 2]
        assert [answers.of(i, Completed)[0].next_seq for i in ids] == [30, 30]
    assert "no step for 1 s while it has 2 sequences" in caplog.text


async def test_a_request_that_kills_the_engine_twice_fails_alone(kafka: KafkaBroker, unique_name: Name) -> None:
    async with (
        a_workshop(kafka.bootstrap, unique_name("m"), SLOW) as shop,
        answers_of(shop) as answers,
        records_of(shop, names.DEAD_LETTERS) as records,
        a_worker(shop, make_engine=mortal),
    ):
        mates = [f"r{i}" for i in range(4)]
        await shop.send(*(shop.dispatch(i, body=a_body(max_tokens=40)) for i in mates))
        await eventually(lambda: all(answers.of(i, Delta) for i in mates), within_s=60)
        await shop.send(shop.dispatch("bad", body=a_body(content=POISON)))
        await eventually(lambda: answers.ended("bad", *mates), within_s=40)
        assert [answers.kinds(i)[-1] for i in mates] == ["completed"] * 4
        (end,) = answers.of("bad", Failed)
        assert end.error.code == "engine_dead"
        assert len(answers.of("bad", Started)) == 2
        await eventually(lambda: _letters(records, shop) == [b"engine_dead"], within_s=10)


async def _workers_until(
    shop: Workshop, answers: Answers, ids: list[str], *, engine: str, at_most: int
) -> list[int | None]:
    """Start one worker after the other, as a supervisor does, until all requests have ended: their exit statuses."""
    statuses: list[int | None] = []
    while not answers.ended(*ids):
        assert len(statuses) < at_most, statuses
        async with _process(shop, "w", engine) as process:
            assert process.stderr is not None
            draining = asyncio.ensure_future(process.stderr.read())
            ended = asyncio.ensure_future(process.wait())
            await eventually(lambda: ended.done() or answers.ended(*ids), within_s=60)  # noqa: B023
            ended.cancel()
            statuses.append(process.returncode)
        await draining
    return statuses


async def _died_with(shop: Workshop, bad: Dispatch, offset: int, *, workers: int) -> None:
    """What the log has of workers that died with a request as soon as they had begun it."""
    for worker in range(workers):
        begun = Started(
            id=bad.id,
            origin=bad.origin,
            attempt=f"died{worker}",
            mode="resume" if worker else "fresh",
            hop=0,
            dispatch=names.origin_of(shop.dispatch_topic, 0, offset),
            term=worker - workers,
            deployment=shop.deployment,
        )
        await shop.producer.send_and_wait(
            bad.reply.topic, encode(begun), key=bad.id.encode(), partition=bad.reply.partition
        )


async def test_a_request_that_takes_workers_with_it_is_found_and_its_mates_recover(
    kafka: KafkaBroker, unique_name: Name
) -> None:
    async with (
        a_workshop(kafka.bootstrap, unique_name("m"), FREE, session_timeout_ms=2000) as shop,
        answers_of(shop) as answers,
        records_of(shop, names.DEAD_LETTERS) as records,
    ):
        ids = ["r0", "bad", "r1"]
        bad = shop.dispatch("bad", body=a_body(content=POISON))
        mates = [shop.dispatch(i, body=a_body(max_tokens=10)) for i in ("r0", "r1")]
        await shop.send(mates[0], bad, mates[1])
        await _died_with(shop, bad, 1, workers=3)
        statuses = await _workers_until(shop, answers, ids, engine="deadly", at_most=5)
        assert statuses == [137] * 3 + [None]
        assert [answers.kinds(i)[-1] for i in ids] == ["completed", "failed", "completed"]
        assert [record.on_trial for record in answers.of("bad", Started)].count(True) == 3
        await eventually(lambda: _letters(records, shop) == [b"engine_dead"], within_s=10)


async def test_a_worker_that_is_put_out_twice_ends_itself(kafka: KafkaBroker, unique_name: Name) -> None:
    async with (
        a_workshop(kafka.bootstrap, unique_name("m"), SLOW, slots=2, session_timeout_ms=2000) as shop,
        records_of(shop, names.workers_topic(shop.model)) as beats,
        a_worker(shop, worker_id="steady"),
        _process(shop, "stalls") as process,
    ):
        for _ in range(6):  # two are enough where rebalances take less than 10 s together
            if await eventually(lambda: _has_ended_or_shares(process, beats), within_s=40) == "ended":
                break
            os.kill(process.pid, signal.SIGSTOP)
            try:
                await eventually(lambda: _slots(beats, "steady") == 2, within_s=20)
            finally:
                os.kill(process.pid, signal.SIGCONT)
        assert process.stderr is not None
        said = (await asyncio.wait_for(process.stderr.read(), 30)).decode()
        assert await process.wait() == 1
        assert "worker stalls cannot go on: its group has put it out twice within 10 s" in said


async def _forget_records(shop: Workshop, before: int) -> None:
    admin = clients.admin(shop.settings.kafka)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(shop.dispatch_topic, 0): RecordsToDelete(before_offset=before)})
    finally:
        await admin.close()


async def test_records_that_are_gone_are_skipped_and_told(
    kafka: KafkaBroker, unique_name: Name, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        a_workshop(kafka.bootstrap, unique_name("m"), FREE) as shop,
        answers_of(shop) as answers,
        records_of(shop, names.TRACE) as trace,
    ):
        async with a_worker(shop):
            await shop.send(shop.dispatch("r0"))
            await eventually(lambda: answers.ended("r0"), within_s=30)
        committed, _ = await shop.committed()
        await shop.send(*(shop.dispatch(f"gone{i}") for i in range(3)), shop.dispatch("r1"))
        await _forget_records(shop, committed + 3)
        async with a_worker(shop):
            await eventually(lambda: answers.ended("r1"), within_s=30)
        gone = f"{committed} to {committed + 2}"
        assert f"slot 0: records {gone} are not in the log any more and are skipped" in caplog.text

        def skipped() -> list[str]:
            events = [r.value for r in trace if header(list(r.headers), TABLE) == b"events"]
            rows = [row for value in events for row in decode_rows(value).to_pylist()]
            return [row["reason"] for row in rows if row["kind"] == "slot.skipped" and row["model"] == shop.model]

        await eventually(lambda: skipped() == [f"offsets {gone} are gone"], within_s=10)
