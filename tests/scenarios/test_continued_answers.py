"""What the account says about an answer that several attempts made is what its reader saw of it."""

from collections.abc import Callable
from typing import Any

import pytest

from infra.devstack.kafka import KafkaBroker
from pipeline.settings import SimulatedDeployment
from tests.eventually import eventually
from tests.integration.sharing.mill import Mill, a_mill, a_worker_process, running
from tests.unit.worker.builders import a_body
from topics.responses import Delta
from topics.trace_rows import RequestRow

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(180)]
Name = Callable[[str], str]

ONE = SimulatedDeployment(
    fixed_us=20_000, per_prefill_token_us=0, per_sequence_us=0, per_kv_token_us=0, max_sequences=1
)
"""One sequence at a time, 50 tokens a second."""
BULK: dict[str, Any] = {"latency_class": "bulk"}
PAUSE_TOKENS = 50


def told_ms(mill: Mill, origin: str) -> list[int]:
    """When the log got the records with tokens."""
    told = mill.of(origin)
    pairs = zip(told.records, told.at_ms, strict=True)
    return [at_ms for record, at_ms in pairs if isinstance(record, Delta) and record.token_ids]


async def its_rows(mill: Mill, origin: str, *, outcome: str = "completed") -> tuple[list[RequestRow], RequestRow]:
    """Rows of the attempts that ended nothing, and the final one, with `produced_ts` in milliseconds."""
    await eventually(lambda: any(row["final"] for row in mill.requests(origin)), within_s=20)
    rows = [
        RequestRow(**{**row, "produced_ts": round(row["produced_ts"].timestamp() * 1000)})
        for row in mill.requests(origin)
    ]
    (final,) = [row for row in rows if row.final]
    assert final.outcome == outcome
    return [row for row in rows if not row.final], final


async def test_a_stream_that_was_parked_counts_from_its_first_token(kafka: KafkaBroker, unique_name: Name) -> None:
    classes = ("realtime", "bulk")
    async with a_mill(kafka.bootstrap, unique_name("m"), ONE, slots=1, classes=classes) as mill, running(mill):
        origin = await mill.send("b", a_body(max_tokens=80, temperature=1), **BULK)
        await eventually(lambda: len(mill.of(origin).token_ids) > 3, within_s=60)
        urgent = a_body(content="urgent", max_tokens=PAUSE_TOKENS, temperature=1)
        await mill.send("u", urgent, latency_class="realtime")
        await eventually(lambda: mill.ended(origin), within_s=60)
        (parked,), final = await its_rows(mill, origin)
    at_ms = told_ms(mill, origin)
    assert parked.outcome == "parked"
    assert (final.continued, final.tokens_out) == (parked.tokens_out, 80 - parked.tokens_out)
    assert final.answer_tokens == len(mill.of(origin).token_ids) == 80
    assert final.answer_first_us == parked.first_us <= (at_ms[0] + 1 - final.produced_ts) * 1000
    assert parked.last_us < final.continued_last_us + 1000 < final.started_us
    # The pause lies between its tokens, not before the first.
    assert final.first_us - parked.last_us > PAUSE_TOKENS * ONE.fixed_us
    assert final.answer_last_us - final.answer_first_us > (80 - 2 + PAUSE_TOKENS) * ONE.fixed_us


async def test_what_is_cancelled_while_it_is_parked_has_the_tokens_that_its_reader_got(
    kafka: KafkaBroker, unique_name: Name
) -> None:
    classes = ("realtime", "bulk")
    async with a_mill(kafka.bootstrap, unique_name("m"), ONE, slots=1, classes=classes) as mill, running(mill):
        origin = await mill.send("b", a_body(max_tokens=500, temperature=1), **BULK)
        await eventually(lambda: len(mill.of(origin).token_ids) > 3, within_s=60)
        await mill.send("u", a_body(max_tokens=300, temperature=1), latency_class="realtime")
        await eventually(lambda: any(row["outcome"] == "parked" for row in mill.requests(origin)), within_s=30)
        got = told_ms(mill, origin)
        await mill.cancel("b")
        await eventually(lambda: mill.ended(origin), within_s=30)
        (parked,), final = await its_rows(mill, origin, outcome="cancelled")
    assert (final.worker, final.tokens_out, final.gpu_ns) == ("", 0, 0)
    assert final.answer_tokens == parked.tokens_out == mill.of(origin).end.usage.completion_tokens
    assert (final.answer_first_us, final.answer_last_us) == (parked.first_us, parked.last_us)
    assert final.answer_first_us <= (got[0] + 1 - final.produced_ts) * 1000


async def test_a_stream_whose_worker_was_killed_counts_from_the_first_token_in_the_log(
    kafka: KafkaBroker, unique_name: Name
) -> None:
    async with a_mill(kafka.bootstrap, unique_name("m"), ONE, slots=1) as mill, running(mill, workers=0):
        victim = await a_worker_process(mill)
        try:
            origin = await mill.send("r", a_body(max_tokens=100, temperature=1))
            await eventually(lambda: len(mill.of(origin).token_ids) > 5, within_s=60)
        finally:
            victim.kill()
            await victim.wait()
        async with running(mill, processors=0):
            await eventually(lambda: mill.ended(origin), within_s=60)
        _, final = await its_rows(mill, origin)
    at_ms = told_ms(mill, origin)
    before = next(i for i, at in enumerate(at_ms) if (at - final.produced_ts) * 1000 > final.started_us)
    assert 5 < final.continued < 100 and final.answer_tokens == 100
    assert final.answer_first_us == (at_ms[0] - final.produced_ts) * 1000
    assert final.continued_last_us == (at_ms[before - 1] - final.produced_ts) * 1000 < final.started_us < final.first_us
