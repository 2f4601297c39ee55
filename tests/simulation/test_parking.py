"""Parking in virtual time: what it saves urgent work, what it costs the work that yields, and that nothing is lost."""

import math
import statistics
from collections.abc import Iterator
from typing import Final

import msgspec
import pytest

from pipeline.settings import SimulatedDeployment
from processors.policy import ClassPolicy, Policy
from tests.virtual_mill import Arriving, Told, VirtualMill
from topics.requests import Request
from topics.responses import Completed

ENGINE: Final = SimulatedDeployment(
    fixed_us=5000, per_prefill_token_us=20, per_sequence_us=50, per_kv_token_us=0, max_sequences=16, seed=4
)
POLICY: Final = Policy(
    model="m",
    classes={
        "realtime": ClassPolicy(priority=0, deadline_ms=30_000, queue_limit=1000),
        "bulk": ClassPolicy(priority=3, deadline_ms=3_600_000, queue_limit=1000, yields=True),
    },
    stable="m@v1",
    longest_deadline_ms=3_600_000,
)
BULK: Final = 24
URGENT: Final = 40


def a_request(name: str, tokens: int) -> Request:
    body = {"messages": [{"role": "user", "content": name * 20}], "max_tokens": tokens, "stream": True}
    return Request(id=name, body=msgspec.Raw(msgspec.json.encode({**body, "ignore_eos": True})))


def traffic(*, urgent: int = URGENT) -> Iterator[Arriving]:
    """Bulk that fills all there is for half a minute, then bursts of urgent requests, eight at a time."""
    for number in range(BULK):
        yield Arriving(0.001 * number, "bulk", a_request(f"b{number}", 2000))
    for number in range(urgent):
        yield Arriving(3.0 + 0.5 * (number // 8), "realtime", a_request(f"u{number}", 20))


def played(*, parks: bool = True, urgent: int = URGENT, workers: int = 1) -> VirtualMill:
    mill = VirtualMill(POLICY, ENGINE, workers=workers, parks=parks)
    mill.run(traffic(urgent=urgent))
    return mill


def of(mill: VirtualMill, latency_class: str) -> list[Told]:
    return [told for told in mill.told.values() if told.latency_class == latency_class]


def first_tokens_s(mill: VirtualMill) -> list[float]:
    return [told.first_s - told.produced_s for told in of(mill, "realtime")]


@pytest.fixture(scope="module")
def with_parking() -> VirtualMill:
    return played()


@pytest.fixture(scope="module")
def without_parking() -> VirtualMill:
    return played(parks=False)


def test_urgent_work_does_not_wait_for_work_that_yields(
    with_parking: VirtualMill, without_parking: VirtualMill
) -> None:
    assert max(first_tokens_s(with_parking)) < 0.25
    assert statistics.median(first_tokens_s(without_parking)) > 4 * max(first_tokens_s(with_parking))


def test_what_was_parked_is_whole_and_as_without(with_parking: VirtualMill, without_parking: VirtualMill) -> None:
    assert with_parking.returned["parked"] > 0
    ends = [type(told.end) for told in with_parking.told.values()]
    assert ends == [Completed] * (BULK + URGENT)
    assert {mode for told in of(with_parking, "bulk") for mode in told.modes} == {"fresh", "resume"}
    texts = [told.text for told in of(with_parking, "bulk")]
    assert texts == [told.text for told in of(without_parking, "bulk")]


def test_the_work_that_yields_is_hardly_later(with_parking: VirtualMill, without_parking: VirtualMill) -> None:
    last_s = [max(told.end_s for told in of(mill, "bulk")) for mill in (with_parking, without_parking)]
    assert last_s[0] < 1.25 * last_s[1]


def test_it_does_not_go_back_and_forth(with_parking: VirtualMill) -> None:
    """Five bursts, the first of which finds the worker full of work that yields: no other has to park."""
    assert with_parking.returned["parked"] <= 8
    assert max(with_parking.hops) == 1


def test_without_urgent_work_nobody_is_parked() -> None:
    mill = played(urgent=0)
    assert mill.returned["parked"] == 0
    assert not any(math.isnan(told.end_s) for told in mill.told.values())
