from processors.batching.sizes import Sizes

SLO_S = 0.060


def sizes(**changes: float) -> Sizes:
    fields = {"base_s": 0.005, "each_s": 0.0008, "safety": 1.1, "hop_s": 0.002, "workers": 4.0, "max_size": 64}
    return Sizes(**{**fields, **changes})  # type: ignore[arg-type]


def test_a_batch_of_the_equilibrium_size_keeps_workers_as_busy_as_asked() -> None:
    rate_per_s = 3000.0
    size = sizes().equilibrium(rate_per_s, 0.9)
    busy = (0.005 + 0.0008 * size) * rate_per_s / 4 / size

    assert size > 1
    assert 0.88 < busy <= 0.9


def test_more_load_than_any_size_carries_asks_for_the_largest() -> None:
    assert sizes().equilibrium(6000.0, 1.0) == 64


def test_the_limit_can_be_filled_and_served_within_the_slo() -> None:
    limit = sizes().limit(4000.0, SLO_S)

    assert limit / 4000.0 + 1.1 * (0.005 + 0.0008 * limit) + 0.004 <= SLO_S
    assert (limit + 1) / 4000.0 + 1.1 * (0.005 + 0.0008 * (limit + 1)) + 0.004 > SLO_S


def test_the_half_survives_a_straggler_of_twice_the_time() -> None:
    half = sizes().half(SLO_S)

    assert 2 * 1.1 * (0.005 + 0.0008 * half) + 0.004 <= SLO_S


def test_sizes_are_between_one_and_the_largest_batch() -> None:
    tight = sizes(hop_s=0.1)

    assert tight.limit(10.0, SLO_S) == 1
    assert tight.half(SLO_S) == 1
    assert sizes().take(10_000.0, SLO_S) == 64


def test_saturation_passes_one_when_batches_cannot_grow_any_more() -> None:
    assert sizes().saturation(1000.0, SLO_S, 0.9) < 0.2
    assert sizes().saturation(4800.0, SLO_S, 0.9) > 1.0
