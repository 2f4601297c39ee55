"""The engine that runs batches to completion: what belongs together runs together, and nothing waits for ever."""

import asyncio
from collections.abc import Callable

import pytest

from pipeline.engines.protocol import EngineRequest, Output
from pipeline.engines.simulated import SimulatedBatches, SimulatedEngine
from pipeline.engines.simulated.model import Step
from pipeline.settings import SimulatedDeployment
from tests.unit.engines.test_simulated_engine import GivenClock
from tests.unit.worker.builders import a_body
from topics.bodies import CHAT, decode_body
from topics.dispatches import BatchPart
from topics.errors import Cancelled, ContextTooLong


def settings(**changes: object) -> SimulatedDeployment:
    defaults: dict[str, object] = {
        "mode": "run_to_completion",
        "fixed_us": 100.0,
        "per_sequence_us": 10.0,
        "per_prefill_token_us": 1.0,
        "batch_wait_s": 0.5,
    }
    return SimulatedDeployment(**{**defaults, **changes})  # type: ignore[arg-type]


def a_part(key: str, batch: str = "b", size: int = 1, *, prompt_tokens: int = 4, max_tokens: int = 3) -> EngineRequest:
    body = decode_body(CHAT, a_body(content="word" * prompt_tokens, max_tokens=max_tokens))
    return EngineRequest(key=key, endpoint=CHAT, body=body, batch=BatchPart(id=batch, index=0, size=size))


def run(engine: SimulatedBatches, now_s: float = 0.0) -> tuple[Step | None, list[Output]]:
    step = engine.next_step(now_s)
    return step, engine.finish(step) if step is not None else []


def test_a_batch_costs_what_its_size_and_tokens_cost() -> None:
    engine = SimulatedBatches(settings())
    engine.submit(a_part("a", size=2), now_s=0)
    engine.submit(a_part("b", size=2, prompt_tokens=6), now_s=0)
    step, outputs = run(engine)
    assert step is not None
    assert step.cost_ns == (100 + 2 * 10 + 10) * 1000
    assert sum(output.gpu_ns for output in outputs) == step.cost_ns


def test_all_answers_come_whole_at_the_end() -> None:
    engine = SimulatedBatches(settings())
    engine.submit(a_part("a", size=2, max_tokens=3), now_s=0)
    engine.submit(a_part("b", size=2, max_tokens=5), now_s=0)
    _, outputs = run(engine)
    assert [(o.key, len(o.token_ids), o.finish_reason) for o in outputs] == [("a", 3, "length"), ("b", 5, "length")]
    assert outputs[0].usage is not None
    assert outputs[0].usage.completion_tokens == 3


def test_a_batch_waits_for_its_parts() -> None:
    engine = SimulatedBatches(settings())
    engine.submit(a_part("a", size=2), now_s=10.0)
    assert engine.next_step(10.4) is None
    assert engine.wake_at_s() == 10.5


def test_a_batch_whose_part_does_not_come_runs_without_it() -> None:
    engine = SimulatedBatches(settings())
    engine.submit(a_part("a", size=2), now_s=10.0)
    _, outputs = run(engine, 10.5)
    assert [output.key for output in outputs] == ["a"]
    assert engine.wake_at_s() is None


def test_a_part_that_was_aborted_is_not_waited_for() -> None:
    engine = SimulatedBatches(settings())
    engine.submit(a_part("a", size=2), now_s=0)
    engine.submit(a_part("b", size=2), now_s=0)
    engine.abort("a")
    _, stopped = run(engine)
    _, outputs = run(engine)
    assert isinstance(stopped[0].error, Cancelled)
    assert [output.key for output in outputs] == ["b"]


def test_a_batch_of_which_all_parts_were_aborted_leaves_nothing_behind() -> None:
    engine = SimulatedBatches(settings())
    engine.submit(a_part("a", size=2), now_s=0)
    engine.abort("a")
    run(engine)
    assert engine.next_step(0.5) is not None
    assert engine.wake_at_s() is None
    assert engine.load().waiting == 0


def test_a_part_that_is_aborted_while_it_runs_ends_with_its_batch() -> None:
    engine = SimulatedBatches(settings())
    engine.submit(a_part("a"), now_s=0)
    step = engine.next_step(0)
    assert step is not None
    engine.abort("a")
    [output] = engine.finish(step)
    assert isinstance(output.error, Cancelled)
    assert output.gpu_ns == step.cost_ns


def test_a_part_that_cannot_be_served_is_told_and_not_waited_for() -> None:
    engine = SimulatedBatches(settings(max_context_tokens=64))
    engine.submit(a_part("long", size=2, prompt_tokens=100), now_s=0)
    engine.submit(a_part("a", size=2), now_s=0)
    _, refused = run(engine)
    _, outputs = run(engine)
    assert isinstance(refused[0].error, ContextTooLong)
    assert [output.key for output in outputs] == ["a"]


def test_the_batch_that_began_to_come_first_runs_first() -> None:
    engine = SimulatedBatches(settings())
    engine.submit(a_part("a1", "a", 2), now_s=0)
    engine.submit(a_part("b1", "b", 1), now_s=0)
    engine.submit(a_part("a2", "a", 2), now_s=0)
    assert [[o.key for o in run(engine)[1]] for _ in range(2)] == [["a1", "a2"], ["b1"]]


def test_a_batch_that_lacks_a_part_does_not_hold_up_one_that_is_whole() -> None:
    engine = SimulatedBatches(settings())
    engine.submit(a_part("a1", "a", 2), now_s=0)
    engine.submit(a_part("b1", "b", 1), now_s=0)
    assert [output.key for output in run(engine)[1]] == ["b1"]


def test_a_batch_beyond_the_largest_runs_in_pieces() -> None:
    engine = SimulatedBatches(settings(max_sequences=2))
    for key in "abc":
        engine.submit(a_part(key, size=3), now_s=0)
    assert [[o.key for o in run(engine)[1]] for _ in range(2)] == [["a", "b"], ["c"]]


def test_a_whole_batch_may_wait_beside_the_one_that_runs() -> None:
    engine = SimulatedBatches(settings(max_sequences=4))
    for key in "abcd":
        engine.submit(a_part(key, size=4), now_s=0)
    full = engine.load()
    engine.next_step(0)
    running = engine.load()
    assert (full.waiting, full.credits.free_sequences) == (4, 0)
    assert (running.running, running.waiting, running.credits.free_sequences) == (4, 0, 4)


def test_the_timing_of_a_batch_is_known_at_its_end() -> None:
    engine = SimulatedBatches(settings(max_sequences=1))
    engine.take_timings()
    engine.submit(a_part("a", "b7", prompt_tokens=5), now_s=0)
    step = engine.next_step(0)
    assert step is not None
    assert engine.take_timings().batches == ()
    engine.finish(step)
    [timing] = engine.take_timings().batches
    assert (timing.id, timing.size, timing.tokens, timing.service_us) == ("b7", 1, 5, 115)


def test_the_warm_up_tells_the_costs_of_four_sizes() -> None:
    timings = SimulatedBatches(settings(max_sequences=64)).take_timings().batches
    assert sorted({timing.size for timing in timings}) == [1, 4, 16, 64]
    assert all(timing.service_us == 100 + 10 * timing.size + timing.tokens for timing in timings)
    assert {timing.id for timing in timings} == {""}


def test_a_batch_counts_as_one_step() -> None:
    engine = SimulatedBatches(settings())
    engine.submit(a_part("a", size=2), now_s=0)
    engine.submit(a_part("b", size=2), now_s=0)
    run(engine)
    counts = engine.take_steps()
    assert (counts.steps, counts.running_max, counts.prefill_tokens, counts.busy_us) == (1, 2, 8, 128)


def _costs(**changes: object) -> list[int]:
    engine = SimulatedBatches(settings(**changes))
    for index in range(400):
        engine.submit(a_part(f"k{index}", f"b{index}"), now_s=0)
    steps = [run(engine)[0] for _ in range(400)]
    return [step.cost_ns for step in steps if step is not None]


def test_noise_varies_costs_around_the_model() -> None:
    costs = _costs(noise_sigma=0.1)
    assert sum(costs) / len(costs) == pytest.approx(114_000, rel=0.02)
    assert min(costs) < 100_000
    assert costs == _costs(noise_sigma=0.1)
    assert costs != _costs(noise_sigma=0.1, seed=1)


def test_stragglers_take_twice_as_long() -> None:
    costs = _costs(straggler_ratio=0.1)
    assert set(costs) == {114_000, 228_000}
    assert 20 < costs.count(228_000) < 60


def _collector(count: int) -> tuple[list[list[Output]], Callable[[list[Output]], None], asyncio.Event]:
    delivered: list[list[Output]] = []
    done = asyncio.Event()

    def deliver(outputs: list[Output]) -> None:
        delivered.append(outputs)
        if len(delivered) == count:
            done.set()

    return delivered, deliver, done


async def test_the_engine_lets_the_time_of_a_batch_pass() -> None:
    clock = GivenClock()
    delivered, deliver, done = _collector(1)
    engine = SimulatedEngine(settings(), clock=clock)
    await engine.start(deliver)
    engine.submit(a_part("a", size=2))
    engine.submit(a_part("b", size=2))
    await asyncio.wait_for(done.wait(), 5)
    await engine.stop()
    assert engine.mode == "run_to_completion"
    assert [output.key for output in delivered[0]] == ["a", "b"]
    assert clock.at_s == pytest.approx(100 + 128e-6)


async def test_the_engine_wakes_for_a_batch_that_stays_incomplete() -> None:
    clock = GivenClock()
    delivered, deliver, done = _collector(1)
    engine = SimulatedEngine(settings(), clock=clock)
    await engine.start(deliver)
    engine.submit(a_part("a", size=2))
    await asyncio.wait_for(done.wait(), 5)
    await engine.stop()
    assert [output.key for output in delivered[0]] == ["a"]
    assert clock.at_s == pytest.approx(100.5 + 114e-6)
