from pipeline.worker.gpu_time import GpuTime
from pipeline.worker.rows import Identity

ME = Identity(worker="w", run="r", deployment="tiny@v1")


def a_gpu_time(*, gpus: int = 1) -> GpuTime:
    return GpuTime(ME, gpu="L4", gpus=gpus, now_ns=0, now_us=1_000)


def test_time_before_an_engine_serves_is_loading() -> None:
    time = a_gpu_time(gpus=2)
    time.on_ready(gpus=2, now_ns=300)

    row = time.take(state="ready", now_ns=1_000, now_us=1_001)

    assert (row.paid_ns, row.loading_ns, row.busy_ns, row.idle_ns) == (2_000, 600, 0, 1_400)
    assert (row.since_ts, row.ts, row.gpu, row.gpus, row.run) == (1_000, 1_001, "L4", 2, "r")


def test_what_was_charged_is_busy_times_gpus_and_the_rest_idle() -> None:
    time = a_gpu_time()
    time.on_ready(gpus=4, now_ns=0)
    time.on_busy(30)
    time.on_settled(55)

    row = time.take(state="ready", now_ns=100, now_us=1_001)

    assert (row.paid_ns, row.busy_ns, row.idle_ns, row.settled_ns) == (400, 120, 280, 55)


def test_a_step_that_has_not_passed_is_told_in_the_next_row() -> None:
    time = a_gpu_time()
    time.on_ready(gpus=1, now_ns=0)
    time.on_busy(130)

    first = time.take(state="ready", now_ns=100, now_us=1_001)
    second = time.take(state="ready", now_ns=200, now_us=1_002)

    assert (first.busy_ns, first.idle_ns) == (100, 0)
    assert (second.busy_ns, second.idle_ns) == (30, 70)


def test_rows_follow_on_each_other_though_the_wall_clock_goes_back() -> None:
    time = a_gpu_time()
    first = time.take(state="loading", now_ns=100, now_us=2_000)

    second = time.take(state="loading", now_ns=200, now_us=1_500)

    assert (second.since_ts, second.ts) == (first.ts, first.ts)
    assert first.paid_ns + second.paid_ns == 200


def test_the_time_between_two_engines_is_loading() -> None:
    time = a_gpu_time()
    time.on_ready(gpus=1, now_ns=10)
    time.on_dead(now_ns=60)
    time.on_ready(gpus=1, now_ns=80)

    row = time.take(state="ready", now_ns=100, now_us=1_001)

    assert (row.loading_ns, row.idle_ns) == (10 + 20, 50 + 20)
