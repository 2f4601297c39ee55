"""Several sequences at once: batching, priorities, abort, load and the account of the engine's time."""

import pytest

from tests.integration.vllm.client import RemoteEngine, chat, completion

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(300)]


def test_sixteen_at_once_share_steps_and_keep_their_answers(engine: RemoteEngine) -> None:
    bodies = [completion(f"{number} plus one is", max_tokens=8, ignore_eos=True) for number in range(16)]
    alone = engine.ask(bodies[3])
    deliveries = engine.deliveries

    answers = [engine.answer(key) for key in engine.submit(*bodies)]

    assert answers[3].text == alone.text
    assert [len(answer.tokens) for answer in answers] == [8] * 16
    # One delivery a step: two batches of eight take a little more than 16 steps, not 128.
    assert engine.deliveries - deliveries < 40


def test_the_time_of_all_sequences_is_the_busy_time(engine: RemoteEngine) -> None:
    engine.send("steps")
    engine.expect("steps")

    keys = engine.submit(*(chat(f"Count to {number}.", max_tokens=6 + number) for number in range(5)))
    shares = [engine.answer(key).last["gpu_ns"] for key in keys]

    engine.send("steps")
    steps = engine.expect("steps")["steps"]
    assert sum(shares) == steps["busy_ns"]
    assert steps["prefill_tokens"] > 0
    assert steps["decode_tokens"] >= 5
    assert 1 <= steps["running_max"] <= 5


def test_urgent_sequence_overtakes_one_that_waits(engine: RemoteEngine) -> None:
    running = engine.submit(*(chat(f"Story {n}", max_tokens=12 + n, ignore_eos=True) for n in range(8)), priority=3)
    engine.next_output(running[-1])
    (late,) = engine.submit(chat("Late", max_tokens=2, ignore_eos=True), priority=3)
    (urgent,) = engine.submit(chat("Urgent", max_tokens=1), priority=0)

    answers = [engine.answer(key) for key in (urgent, late, *running)]

    assert answers[0].outputs[0]["delivery"] < answers[1].outputs[0]["delivery"]
    assert [answer.last["finish_reason"] for answer in answers] == ["length"] * 10


def test_aborted_sequence_ends_cancelled_with_its_usage(engine: RemoteEngine) -> None:
    (key,) = engine.submit(chat("Tell me everything.", max_tokens=400, ignore_eos=True))
    begun = [engine.next_output(key) for _ in range(3)]

    engine.send("abort", key=key)
    ended = engine.answer(key)

    assert ended.error["code"] == "cancelled"
    assert ended.last["gpu_ns"] > 0
    assert ended.usage["completion_tokens"] == len(begun) + len(ended.tokens)
    assert engine.ask(chat("Hello", max_tokens=2)).last["finish_reason"] == "length"
    assert not engine.has_more(key)


def test_unknown_key_may_be_aborted(engine: RemoteEngine) -> None:
    engine.send("abort", key="nobody")

    assert engine.ask(chat("Hello", max_tokens=1)).tokens


def test_load_shows_what_runs_and_what_is_free(engine: RemoteEngine) -> None:
    (key,) = engine.submit(completion([7] * 200, max_tokens=300, ignore_eos=True))
    engine.next_output(key)
    engine.send("load")
    busy = engine.expect("load")["load"]
    engine.send("abort", key=key)
    engine.answer(key)
    engine.send("load")
    idle = engine.expect("load")["load"]

    limits = engine.limits
    assert (busy["running"], busy["waiting"]) == (1, 0)
    assert busy["credits"]["free_sequences"] == limits["max_sequences"] - 1
    assert 200 < limits["max_kv_tokens"] - busy["credits"]["free_kv_tokens"] <= 512
    assert (idle["running"], idle["waiting"]) == (0, 0)
    assert idle["credits"]["free_kv_tokens"] == limits["max_kv_tokens"]
