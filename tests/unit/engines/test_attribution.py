import random

import pytest

from pipeline.engines.attribution import TYPICAL, StepModel, shares, split
from pipeline.engines.fitting import MIN_STEPS, StepFit

COSTS = StepModel(fixed_ns=9e6, per_prefill_token_ns=9000.0, per_sequence_ns=60_000.0, per_kv_token_ns=12.0)


@pytest.mark.parametrize("seed", range(20))
def test_shares_add_up_to_the_nanosecond(seed: int) -> None:
    chance = random.Random(seed)
    count = chance.randrange(1, 300)
    total_ns = chance.randrange(10**11)
    prefill = [chance.choice((0, 0, 0, 2048)) for _ in range(count)]
    held = [chance.randrange(8000) for _ in range(count)]

    parts = shares(total_ns, prefill, held, COSTS)

    assert sum(parts) == total_ns
    assert min(parts) >= 0


def test_a_share_is_the_fixed_part_in_equal_portions_and_what_was_caused() -> None:
    total_ns = round(9e6 + 9000 * 100 + 2 * 60_000 + 12 * 1500)

    assert shares(total_ns, [100, 0], [500, 1000], COSTS) == [
        4_500_000 + 900_000 + 60_000 + 6_000,
        4_500_000 + 60_000 + 12_000,
    ]


def test_who_decodes_beside_a_long_prompt_does_not_pay_for_it() -> None:
    alone = shares(round(9e6 + 31 * (60_000 + 12 * 1500)), [0] * 31, [1500] * 31, COSTS)
    total_ns = round(9e6 + 9000 * 2048 + 32 * 60_000 + 12 * (2048 + 31 * 1500))

    beside = shares(total_ns, [2048] + [0] * 31, [2048] + [1500] * 31, COSTS)

    assert beside[1] <= alone[0]
    assert beside[0] > total_ns / 2


def test_what_does_not_divide_goes_to_the_largest_remainders() -> None:
    assert split(10, [1, 1, 1]) == [4, 3, 3]
    assert split(10, [1, 2, 4]) == [1, 3, 6]  # 1.43, 2.86, 5.71
    assert split(7, [0, 0]) == [4, 3]


def test_a_step_of_nobody_is_nobodys() -> None:
    assert shares(100, [], [], TYPICAL) == []


def test_costs_are_found_again_in_noisy_steps() -> None:
    chance = random.Random(3)
    fit = StepFit()
    for _ in range(4000):
        sequences, prefill = chance.randrange(1, 64), chance.choice((0, 0, 256, 1024, 2048))
        held = sum(chance.randrange(100, 6000) for _ in range(sequences))
        exact = 9e6 + 9000 * prefill + 60_000 * sequences + 12 * held
        fit.add(round(exact * chance.uniform(0.97, 1.03)), prefill_tokens=prefill, sequences=sequences, kv_tokens=held)

    assert fit.model is not None
    assert fit.model.fixed_ns == pytest.approx(9e6, rel=0.1)
    assert fit.model.per_prefill_token_ns == pytest.approx(9000, rel=0.1)
    assert fit.model.per_kv_token_ns == pytest.approx(12, rel=0.3)


def test_nothing_is_known_of_few_steps() -> None:
    fit = StepFit()
    for _ in range(MIN_STEPS - 1):
        fit.add(10**7, prefill_tokens=0, sequences=1, kv_tokens=10)

    assert fit.model is None


def test_steps_that_are_all_alike_still_give_costs_that_are_not_negative() -> None:
    fit = StepFit()
    for _ in range(2 * MIN_STEPS):
        fit.add(10**7, prefill_tokens=0, sequences=4, kv_tokens=100)

    assert fit.model is not None
    assert min(fit.model.fixed_ns, fit.model.per_sequence_ns, fit.model.per_kv_token_ns) >= 0
