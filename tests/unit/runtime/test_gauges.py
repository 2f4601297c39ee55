"""What a processor's gauges say of its schedulers."""

from types import SimpleNamespace
from typing import cast

from pipeline.metrics.tally import Tally
from pipeline.processor.gauges import StationGauges
from pipeline.processor.station import Station
from processors.scheduler import Scheduler
from tests.unit.processors.builders import DEPLOYMENT, MODEL, T0_S, a_scheduler, beat
from topics.fleet import StepSample


def a_learned_scheduler(*durations_us: int) -> Scheduler:
    scheduler = a_scheduler()
    samples = [
        StepSample(duration_us=duration_us, decoding=1, kv_tokens=100, prefill_tokens=0) for duration_us in durations_us
    ]
    beat(scheduler, samples=samples)
    return scheduler


def tally_of(*schedulers: Scheduler) -> Tally:
    tally = Tally("processor")
    shards = SimpleNamespace(schedulers=schedulers, now_s=T0_S, dead_letters={})
    StationGauges(cast(Station, SimpleNamespace(model=MODEL, shards=shards))).register(tally)
    return tally


def test_of_what_shards_have_learned_the_worst_is_told() -> None:
    steady, slower = a_learned_scheduler(*[20_000] * 60), a_learned_scheduler(*[20_000] * 40, *[30_000] * 20)
    tally = tally_of(steady, slower, a_scheduler())
    learned = slower.learned()
    assert learned is not None
    assert tally.values("millrace_latency_model_scale") == {(DEPLOYMENT,): learned.scale}
    assert tally.values("millrace_latency_model_error_ratio") == {(DEPLOYMENT,): learned.error_ratio}
    assert learned.scale > 1.05
    assert learned.error_ratio > 0.05


def test_before_anything_was_learned_nothing_is_told() -> None:
    assert tally_of(a_scheduler()).values("millrace_latency_model_scale") == {}
