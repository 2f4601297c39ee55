"""What is learned from timed steps."""

import pytest

from processors.batching.steps import KNOWN_AFTER, SETTLED_AFTER, StepModel
from tests.unit.batching.builders import FIXED_S, KV_S, PROMPT_S, SEQUENCE_S, a_sample
from topics.fleet import StepSample


def a_model(steps: int) -> StepModel:
    model = StepModel()
    for number in range(steps):
        model.learn(a_sample(number))
    return model


def test_the_cost_of_steps_is_found() -> None:
    cost = a_model(400).cost
    expected = FIXED_S + 100 * SEQUENCE_S + 80_000 * KV_S + 1000 * PROMPT_S
    assert cost.duration_s(100, 80_000, 1000) == pytest.approx(expected, rel=0.05)
    assert cost.duration_s(1, 500, 0) == pytest.approx(FIXED_S, rel=0.1)


def test_minutes_of_small_steps_do_not_erase_large_ones() -> None:
    model = a_model(400)
    before = model.cost.duration_s(150, 100_000, 1500)
    for _ in range(20_000):
        model.learn(StepSample(duration_us=10_020, decoding=1, kv_tokens=500, prefill_tokens=0))
    assert model.cost.duration_s(150, 100_000, 1500) == pytest.approx(before, rel=0.1)


def test_drift_is_followed() -> None:
    model = a_model(400)
    for number in range(400):
        sample = a_sample(number)
        model.learn(
            StepSample(
                duration_us=round(1.4 * sample.duration_us),
                decoding=sample.decoding,
                kv_tokens=sample.kv_tokens,
                prefill_tokens=sample.prefill_tokens,
            )
        )
    assert model.cost.duration_s(100, 80_000, 0) == pytest.approx(1.4 * (FIXED_S + 0.002 + 0.004), rel=0.1)


def test_the_error_of_a_steady_engine_vanishes() -> None:
    assert a_model(600).error_ratio < 0.03


def test_steps_that_took_no_time_teach_nothing() -> None:
    model = StepModel()
    for _ in range(1000):
        model.learn(StepSample(duration_us=0, decoding=5, kv_tokens=100, prefill_tokens=10))
    assert model.steps == 0
    assert not model.is_known


def test_it_is_known_after_some_steps_and_trusted_after_more() -> None:
    assert a_model(KNOWN_AFTER).is_known
    assert not a_model(KNOWN_AFTER).is_trusted
    assert a_model(200).is_trusted


def test_a_slow_engine_is_trusted_after_fewer_steps() -> None:
    slow = StepSample(duration_us=250_000, decoding=5, kv_tokens=100, prefill_tokens=10)
    model = StepModel()
    for _ in range(39):
        model.learn(slow)
    assert not model.is_trusted
    model.learn(slow)
    assert model.is_trusted


def test_a_few_long_steps_are_not_trusted() -> None:
    model = StepModel()
    for _ in range(SETTLED_AFTER):
        model.learn(StepSample(duration_us=2_000_000, decoding=5, kv_tokens=100, prefill_tokens=10))
    assert not model.is_trusted


def test_one_pause_does_not_change_the_shape() -> None:
    model = a_model(400)
    before = model.cost.duration_s(50, 30_000, 500)
    model.learn(StepSample(duration_us=5_000_000, decoding=50, kv_tokens=30_000, prefill_tokens=500))
    assert model.cost.duration_s(50, 30_000, 500) == pytest.approx(before, rel=0.05)
