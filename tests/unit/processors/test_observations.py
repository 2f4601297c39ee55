"""What can be seen of lanes: queue, slack, batches of late, and whether it is waited on purpose."""

from processors.batching.controller import Decision, Deferral, Why
from processors.observations import Observations
from processors.policy import Policy
from processors.queueing.lane import LaneQueue
from processors.scheduler import Scheduler
from tests.unit.processors.builders import DEPLOYMENT, T0_S, a_heartbeat, a_policy, a_scheduler, admit, beat
from topics.fleet import LaneFigures, StepSample


def of(scheduler: Scheduler, latency_class: str, *, now_s: float = T0_S) -> LaneFigures:
    (found,) = [lane for lane in scheduler.lane_figures(now_s=now_s) if lane.latency_class == latency_class]
    return found


def target_ms(policy: Policy) -> int:
    return policy.classes["interactive"].target_ms


def test_lanes_come_in_order_of_priority() -> None:
    names = [lane.latency_class for lane in a_scheduler().lane_figures(now_s=T0_S)]
    assert names == ["realtime", "interactive", "bulk"]


def test_a_lane_tells_how_many_wait_and_how_long_the_first_may() -> None:
    scheduler = a_scheduler()
    admit(scheduler, 0, 1)
    lane = of(scheduler, "interactive", now_s=T0_S + 0.25)
    assert (lane.queued, lane.slack_ms) == (2, target_ms(a_policy()) - 250)


def test_a_lane_in_which_nobody_waits_has_no_slack() -> None:
    lane = of(a_scheduler(), "bulk")
    assert (lane.queued, lane.slack_ms) == (0, None)


def test_a_lane_whose_gate_is_closed_is_paused() -> None:
    scheduler = a_scheduler(limit=2)
    admit(scheduler, 0, 1)
    assert of(scheduler, "interactive").is_paused
    assert not of(scheduler, "bulk").is_paused


def test_where_engines_batch_continuously_the_batch_is_what_workers_run() -> None:
    scheduler = a_scheduler()
    for name, running in (("w1", 4), ("w2", 9), ("w3", 10)):
        scheduler.on_heartbeat(a_heartbeat(name, running=running), at_ms=int(T0_S * 1000), now_s=T0_S)
    assert of(scheduler, "interactive").batch_size == 9


def test_where_batches_run_whole_the_batch_is_what_was_dispatched() -> None:
    scheduler = a_scheduler()
    admit(scheduler, 0, 1, 2)
    beat = a_heartbeat(running=0, mode="run_to_completion")
    scheduler.on_heartbeat(beat, at_ms=int(T0_S * 1000), now_s=T0_S)
    scheduler.on_wake(now_s=T0_S + 10)
    assert of(scheduler, "interactive").batch_size == 3
    assert of(scheduler, "bulk").batch_size == 0


def test_nothing_was_learned_before_a_worker_has_told_how_it_batches() -> None:
    scheduler = a_scheduler()
    assert scheduler.learned() is None
    step = StepSample(duration_us=20_000, decoding=1, kv_tokens=100, prefill_tokens=0)
    beat(scheduler, samples=[step])
    told = scheduler.learned()
    assert told is not None
    assert (told.deployment, told.samples) == (DEPLOYMENT, 1)


def test_a_lane_that_waits_for_room_does_not_defer() -> None:
    observations, scheduler = Observations(), a_scheduler()
    observations.on_decision(Decision(deferral=Deferral(why=Why("credit"), queued=1, has_room=False)))
    admit(scheduler, 0)
    told = observations.figures(scheduler.lanes, scheduler._controller, running=None, now_s=T0_S)
    assert not any(lane.is_deferring for lane in told)


def test_only_a_lane_with_a_queue_defers() -> None:
    observations, scheduler = Observations(), a_scheduler()
    observations.on_decision(Decision(deferral=Deferral(why=Why("filling"), queued=1)))
    admit(scheduler, 0)
    lanes: dict[str, LaneQueue] = dict(scheduler.lanes)
    controller = scheduler._controller
    told = observations.figures(lanes, controller, running=None, now_s=T0_S)
    assert {lane.latency_class: lane.is_deferring for lane in told} == {
        "realtime": False,
        "interactive": True,
        "bulk": False,
    }
