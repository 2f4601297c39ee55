from processors.batching.latency import LatencyModel
from topics.fleet import BatchTiming


def a_timing(size: int, *, tokens: int = 0, factor: float = 1.0, name: str = "b1") -> BatchTiming:
    seconds = factor * (0.005 + 0.0008 * size + 6e-6 * tokens)
    return BatchTiming(id=name, size=size, tokens=tokens, service_us=int(1e6 * seconds))


def a_warm_model() -> LatencyModel:
    model = LatencyModel()
    for size in (1, 4, 16, 64):
        model.warm_up(a_timing(size, name=""))
    return model


def test_a_warm_up_is_enough_to_predict() -> None:
    model = a_warm_model()

    assert abs(model.mean(40, 0) / 0.037 - 1) < 0.05
    assert model.observed == 0


def test_the_scale_follows_a_slower_engine_within_thirty_batches() -> None:
    model = a_warm_model()
    for _ in range(30):
        model.observe(a_timing(20), assumed_tokens=0)
    for _ in range(30):
        model.observe(a_timing(20, factor=1.5), assumed_tokens=0)

    assert abs(model.mean(20, 0) / (1.5 * 0.021) - 1) < 0.05
    assert abs(model.mean(60, 0) / (1.5 * 0.053) - 1) < 0.1


def test_one_straggler_hardly_moves_the_mean() -> None:
    model = a_warm_model()
    for _ in range(60):
        model.observe(a_timing(20), assumed_tokens=0)
    before = model.mean(20, 0)
    model.observe(a_timing(20, factor=30.0), assumed_tokens=0)

    assert model.mean(20, 0) / before < 1.06


def test_the_safety_factor_rises_with_the_tail_and_is_bounded() -> None:
    model = a_warm_model()
    for turn in range(600):
        model.observe(a_timing(20, factor=1.4 if turn % 20 == 0 else 1.0), assumed_tokens=0)

    assert 1.2 < model.safety <= 1.5
    assert model.high(20, 0) == model.safety * model.mean(20, 0)


def test_tokens_that_workers_do_not_count_cost_nothing() -> None:
    model = a_warm_model()
    for size in (1, 2, 4, 8) * 60:
        model.observe(a_timing(size), assumed_tokens=17 * size)

    assert abs(model.mean(60, 17 * 60) / 0.053 - 1) < 0.05


def test_lengths_are_learned_where_they_matter() -> None:
    model = LatencyModel()
    for size in (1, 4, 16) * 20:
        for each in (50, 400):
            model.observe(a_timing(size, tokens=size * each), assumed_tokens=size * each)

    assert abs(model.mean(10, 1000) / 0.019 - 1) < 0.1
    assert model.mean(10, 4000) > 1.5 * model.mean(10, 1000)


def test_the_error_is_that_of_late() -> None:
    model = a_warm_model()
    for _ in range(200):
        model.observe(a_timing(20), assumed_tokens=0)

    assert model.error_ratio < 0.02
