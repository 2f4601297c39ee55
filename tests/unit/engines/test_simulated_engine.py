import asyncio

import pytest

from pipeline.engines.protocol import EngineRequest, Output
from pipeline.engines.simulated import SimulatedEngine
from pipeline.settings import SimulatedDeployment
from tests.unit.worker.builders import a_body
from topics.bodies import CHAT, decode_body
from topics.errors import EngineDead


class GivenClock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.at_s = 100.0

    def now_s(self) -> float:
        return self.at_s

    async def sleep_until(self, at_s: float) -> None:
        await asyncio.sleep(0)
        self.at_s = max(self.at_s, at_s)


def a_request(key: str = "a", max_tokens: int = 5) -> EngineRequest:
    return EngineRequest(key=key, endpoint=CHAT, body=decode_body(CHAT, a_body(max_tokens=max_tokens)))


async def test_the_time_of_all_steps_passes_on_the_clock() -> None:
    clock, done = GivenClock(), asyncio.Event()
    costs = SimulatedDeployment(fixed_us=1000, per_prefill_token_us=0, per_sequence_us=0, per_kv_token_us=0)
    engine = SimulatedEngine(costs, clock=clock)

    def deliver(outputs: list[Output]) -> None:
        if outputs[-1].is_last:
            done.set()

    await engine.start(deliver)
    engine.submit(a_request(max_tokens=5))
    await asyncio.wait_for(done.wait(), 5)
    await engine.stop()
    assert clock.at_s == pytest.approx(100.005)
    assert engine.take_steps().busy_us == 5000


async def test_an_engine_without_work_does_not_turn() -> None:
    clock = GivenClock()
    engine = SimulatedEngine(SimulatedDeployment(), clock=clock)
    await engine.start(lambda _: None)
    for _ in range(10):
        await asyncio.sleep(0)
    await engine.stop()
    assert clock.at_s == 100.0


async def test_a_crash_ends_join_and_delivers_nothing_more() -> None:
    delivered: list[Output] = []
    engine = SimulatedEngine(SimulatedDeployment(crash_every=1, seed=2), clock=GivenClock())
    await engine.start(delivered.extend)
    engine.submit(a_request("a"))
    engine.submit(a_request("b"))
    with pytest.raises(EngineDead, match="told to crash"):
        await asyncio.wait_for(engine.join(), 5)
    assert delivered == []
