"""Two tenants of weight 4:1 that both ask for more than their share, on one shard and on two that hear of each other
only through the heartbeats of the workers.
"""

import pytest

from tests.unit.processors.shared_workers import SharedWorkers, Tenant

WARM_UP_S = 20.0
MEASURED_S = 120.0
DEMAND_PER_S = 60.0
"""Of each tenant. The workers end 32 requests per second of the plain size."""


def served_ratio(premium: Tenant, regular: Tenant, *, shards: int) -> float:
    """Weighted tokens that the one was served for each of the other."""
    world = SharedWorkers([premium, regular], shards=shards)
    world.run(WARM_UP_S)
    served = world.run(MEASURED_S)
    assert world.occupied_ratio() > 0.9
    assert world.most_waiting() <= 1
    return served["premium"] / served["regular"]


def premium(share: float = 1.0, prompt_tokens: int = 100) -> Tenant:
    return Tenant("premium", 4.0, DEMAND_PER_S, share=share, prompt_tokens=prompt_tokens)


def regular(share: float = 1.0, prompt_tokens: int = 100, answer_tokens: int = 50) -> Tenant:
    return Tenant("regular", 1.0, DEMAND_PER_S, share=share, prompt_tokens=prompt_tokens, answer_tokens=answer_tokens)


@pytest.mark.slow
def test_one_shard_serves_tokens_by_weight() -> None:
    assert served_ratio(premium(), regular(), shards=1) == pytest.approx(4.0, rel=0.02)


@pytest.mark.slow
def test_one_shard_serves_tokens_by_weight_whatever_the_sizes_of_requests() -> None:
    long_prompts, long_answers = premium(prompt_tokens=200), regular(prompt_tokens=50, answer_tokens=100)
    assert served_ratio(long_prompts, long_answers, shards=1) == pytest.approx(4.0, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("share_of_premium", "share_of_regular"),
    [(0.5, 0.5), (1.0, 0.0), (0.0, 1.0), (0.9, 0.1), (1.0, 0.5)],
)
def test_two_shards_serve_tokens_by_weight_however_the_ingress_is_skewed(
    share_of_premium: float, share_of_regular: float
) -> None:
    ratio = served_ratio(premium(share_of_premium), regular(share_of_regular), shards=2)
    assert ratio == pytest.approx(4.0, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("share_of_premium", [1.0, 0.0])
def test_two_shards_serve_tokens_by_weight_whatever_the_sizes_of_requests(share_of_premium: float) -> None:
    long_prompts = premium(share_of_premium, prompt_tokens=200)
    long_answers = regular(1.0 - share_of_premium, prompt_tokens=50, answer_tokens=100)
    assert served_ratio(long_prompts, long_answers, shards=2) == pytest.approx(4.0, rel=0.05)


@pytest.mark.slow
def test_what_one_tenant_does_not_ask_for_the_other_gets_though_it_waits_at_another_shard() -> None:
    light = Tenant("premium", 4.0, 3.0, share=1.0)
    world = SharedWorkers([light, regular(0.0)], shards=2)
    world.run(WARM_UP_S)
    served = world.run(MEASURED_S)
    assert served["premium"] == pytest.approx(3.0 * MEASURED_S * 200, rel=0.02)
    assert world.occupied_ratio() > 0.9
