"""What a scheduler that begins late has to hear of the workers."""

from processors.rollcall import FORGET_AFTER_MS, RollCall
from tests.unit.processors.builders import a_heartbeat
from topics.fleet import BatchTiming, StepSample

WARM = [BatchTiming(size=4, tokens=64, service_us=900)]
STEP = [StepSample(duration_us=9, decoding=1, kv_tokens=1, prefill_tokens=0)]


def heard(rollcall: RollCall) -> list[tuple[str, int]]:
    return [(heartbeat.worker, heartbeat.seq) for heartbeat, _ in rollcall.told()]


def test_the_warm_up_and_the_newest_heartbeat_are_kept_in_order() -> None:
    rollcall = RollCall()
    rollcall.observe(a_heartbeat(seq=1, state="loading"), at_ms=1)
    rollcall.observe(a_heartbeat(seq=2, batches=WARM), at_ms=2)
    rollcall.observe(a_heartbeat(seq=3, samples=STEP), at_ms=3)
    rollcall.observe(a_heartbeat(seq=4), at_ms=4)
    assert heard(rollcall) == [("w1", 2), ("w1", 4)]
    assert [at_ms for _, at_ms in rollcall.told()] == [2, 4]


def test_a_heartbeat_is_not_told_twice() -> None:
    rollcall = RollCall()
    rollcall.observe(a_heartbeat(seq=1, samples=STEP), at_ms=1)
    assert heard(rollcall) == [("w1", 1)]


def test_a_new_run_begins_anew() -> None:
    rollcall = RollCall()
    rollcall.observe(a_heartbeat(seq=7, samples=STEP), at_ms=1)
    rollcall.observe(a_heartbeat(seq=1, run="run2"), at_ms=2)
    assert heard(rollcall) == [("w1", 1)]


def test_who_said_goodbye_or_was_silent_for_long_is_forgotten() -> None:
    rollcall = RollCall()
    rollcall.observe(a_heartbeat("silent"), at_ms=0)
    rollcall.observe(a_heartbeat("leaves"), at_ms=1)
    rollcall.observe(a_heartbeat("leaves", seq=2, state="stopped"), at_ms=2)
    rollcall.observe(a_heartbeat("stays"), at_ms=FORGET_AFTER_MS + 1)
    assert heard(rollcall) == [("stays", 1)]
    assert len(rollcall) == 1
