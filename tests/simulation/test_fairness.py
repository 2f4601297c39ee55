"""Two tenants of weight 4:1 that both ask for more than their share, on one shard and on several.

Shards hear of each other only through the heartbeats of the workers and, every second, of what waits.
"""

import pytest

from tests.unit.processors.shared_workers import KV_TOKENS, SEQUENCES, SharedWorkers, Tenant

WARM_UP_S = 20.0
MEASURED_S = 60.0
DEMAND_PER_S = 60.0
"""Of each tenant. The workers end 32 requests per second of the plain size."""
SCARCE_KV_TOKENS = 1600
"""Of a worker: room for ten requests of the plain size, while it could run sixteen, or for one large one."""
NEWCOMERS = 2
"""Requests that may wait inside a worker at a time: who has not told yet that it waits takes a little all the same."""


def play(
    premium: Tenant, regular: Tenant, *, shards: int, kv_tokens: int = KV_TOKENS, seconds: float = MEASURED_S
) -> tuple[SharedWorkers, float]:
    """The world afterwards, and the weighted tokens that the one was served for each of the other."""
    world = SharedWorkers([premium, regular], shards=shards, kv_tokens=kv_tokens)
    world.run(WARM_UP_S)
    served = world.run(seconds)
    assert world.most_waiting() <= NEWCOMERS
    return world, served["premium"] / served["regular"]


def served_ratio(premium: Tenant, regular: Tenant, *, shards: int, seconds: float = MEASURED_S) -> float:
    """The same where requests are small, so that workers are always full."""
    world, ratio = play(premium, regular, shards=shards, seconds=seconds)
    assert world.occupied_ratio() > 0.9
    return ratio


def premium(share: float = 1.0, *, prompt_tokens: int = 100, answer_tokens: int = 50, choices: int = 1) -> Tenant:
    return Tenant("premium", 4.0, DEMAND_PER_S, share, prompt_tokens, answer_tokens, choices)


def regular(
    share: float = 1.0,
    *,
    prompt_tokens: int = 100,
    answer_tokens: int = 50,
    choices: int = 1,
    per_s: float = DEMAND_PER_S,
) -> Tenant:
    return Tenant("regular", 1.0, per_s, share, prompt_tokens, answer_tokens, choices)


@pytest.mark.slow
def test_one_shard_serves_tokens_by_weight() -> None:
    assert served_ratio(premium(), regular(), shards=1, seconds=120.0) == pytest.approx(4.0, rel=0.02)


@pytest.mark.slow
def test_one_shard_serves_tokens_by_weight_whatever_the_sizes_of_requests() -> None:
    long_prompts, long_answers = premium(prompt_tokens=200), regular(prompt_tokens=50, answer_tokens=100)
    assert served_ratio(long_prompts, long_answers, shards=1, seconds=120.0) == pytest.approx(4.0, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("share_of_premium", "share_of_regular"),
    [(0.5, 0.5), (1.0, 0.0), (0.0, 1.0), (0.9, 0.1), (1.0, 0.5), (0.02, 0.5), (0.5, 0.02), (0.9, 1.0), (0.0, 0.02)],
)
def test_two_shards_serve_tokens_by_weight_however_the_ingress_is_skewed(
    share_of_premium: float, share_of_regular: float
) -> None:
    ratio = served_ratio(premium(share_of_premium), regular(share_of_regular), shards=2)
    assert ratio == pytest.approx(4.0, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("shards", [3, 4, 8])
def test_more_shards_do_so_too_though_most_have_nothing_to_do(shards: int) -> None:
    assert served_ratio(premium(1.0), regular(0.0), shards=shards) == pytest.approx(4.0, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("share_of_premium", [1.0, 0.0])
def test_two_shards_serve_tokens_by_weight_whatever_the_sizes_of_requests(share_of_premium: float) -> None:
    long_prompts = premium(share_of_premium, prompt_tokens=200)
    long_answers = regular(1.0 - share_of_premium, prompt_tokens=50, answer_tokens=100)
    assert served_ratio(long_prompts, long_answers, shards=2) == pytest.approx(4.0, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("premium_choices", "regular_choices"), [(1, 2), (1, 4), (1, 10), (4, 1), (10, 1), (4, 4)])
def test_two_shards_serve_by_weight_though_the_requests_at_one_need_more_than_its_part_of_what_is_free(
    premium_choices: int, regular_choices: int
) -> None:
    worlds = [
        play(premium(1.0, choices=premium_choices), regular(0.0, choices=regular_choices), shards=shards)
        for shards in (1, 2)
    ]
    (alone, _), (shared, ratio) = worlds
    assert ratio == pytest.approx(4.0, rel=0.05)
    assert shared.occupied_ratio() > 0.9 * alone.occupied_ratio()


@pytest.mark.slow
@pytest.mark.parametrize(("premium_choices", "regular_choices"), [(1, SEQUENCES), (SEQUENCES, 1)])
def test_two_shards_serve_by_weight_though_one_is_out_for_so_long_that_nothing_of_it_ends(
    premium_choices: int, regular_choices: int
) -> None:
    sizes = {"prompt_tokens": 50, "answer_tokens": 100}
    tenants = [premium(1.0, choices=premium_choices, **sizes), regular(0.0, choices=regular_choices, **sizes)]
    world = SharedWorkers(tenants, shards=2)
    world.run(WARM_UP_S)
    served = world.run(3 * MEASURED_S)
    assert served["premium"] / served["regular"] == pytest.approx(4.0, rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("premium", "regular"),
    [
        (premium(1.0), regular(0.0)),
        (premium(0.5), regular(0.5)),
        (premium(0.9), regular(0.1)),
        (premium(1.0), regular(0.0, prompt_tokens=900, answer_tokens=100)),
        (premium(1.0, prompt_tokens=900, answer_tokens=100), regular(0.0)),
    ],
    ids=["apart", "even", "skewed", "large regular", "large premium"],
)
def test_two_shards_serve_by_weight_where_kv_is_scarce(premium: Tenant, regular: Tenant) -> None:
    (alone, _), (shared, ratio) = (
        play(premium, regular, shards=shards, kv_tokens=SCARCE_KV_TOKENS) for shards in (1, 2)
    )
    assert ratio == pytest.approx(4.0, rel=0.05)
    assert shared.held_kv_ratio() > 0.9 * alone.held_kv_ratio()


@pytest.mark.slow
def test_what_one_tenant_does_not_ask_for_the_other_gets_though_it_waits_at_another_shard() -> None:
    light = Tenant("premium", 4.0, 3.0, share=1.0)
    world = SharedWorkers([light, regular(0.0)], shards=2)
    world.run(WARM_UP_S)
    served = world.run(MEASURED_S)
    assert served["premium"] == pytest.approx(3.0 * MEASURED_S * 200, rel=0.02)
    assert world.occupied_ratio() > 0.9


@pytest.mark.slow
def test_who_asks_for_less_than_its_share_gets_all_of_it_where_kv_is_scarce() -> None:
    light = regular(0.0, per_s=3.0)
    world = SharedWorkers([premium(1.0), light], shards=2, kv_tokens=SCARCE_KV_TOKENS)
    world.run(WARM_UP_S)
    served = world.run(MEASURED_S)
    assert served["regular"] == pytest.approx(3.0 * MEASURED_S * 200, rel=0.02)
    assert world.longest_wait_s[1] < 2.5


@pytest.mark.slow
def test_who_needs_much_gets_what_one_leaves_that_sends_all_the_time_and_never_waits() -> None:
    light = Tenant("light", 4.0, DEMAND_PER_S, prompt_tokens=200, answer_tokens=10, at=0)
    large = [Tenant(f"large{at}", 1.0, DEMAND_PER_S, prompt_tokens=900, answer_tokens=10, at=at) for at in (1, 2)]
    held = {}
    for shards in (1, 3):
        world = SharedWorkers([light, *large], shards=shards, workers=3, kv_tokens=3000)
        world.run(WARM_UP_S / 2)
        served = world.run(MEASURED_S / 3)
        assert served["light"] == pytest.approx(DEMAND_PER_S * MEASURED_S / 3 * 220, rel=0.02)
        held[shards] = world.held_kv_ratio()
    assert held[3] > 0.9 * held[1]
