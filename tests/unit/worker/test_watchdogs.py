"""When an engine counts as stuck, and when a worker has been fenced too often."""

from pipeline.worker.watchdogs import FENCED_WITHIN_S, FenceWatch, StepWatch


def _answers(*looks: tuple[float, int, int]) -> list[bool]:
    """What a watch with a limit of 4 s says to looks of (time, steps so far, sequences)."""
    watch = StepWatch(4.0, now_s=0.0)
    return [watch.is_stuck(steps=steps, sequences=sequences, now_s=now_s) for now_s, steps, sequences in looks]


def test_an_engine_that_steps_is_not_stuck() -> None:
    assert _answers(*((float(second), second, 3) for second in range(1, 12))) == [False] * 11


def test_an_engine_without_sequences_is_not_stuck() -> None:
    assert _answers(*((float(second), 0, 0) for second in range(1, 12))) == [False] * 11


def test_an_engine_that_has_sequences_and_makes_no_step_is_stuck_after_the_limit() -> None:
    assert _answers(*((1.0 + second, 7, 1) for second in range(5))) == [False] * 4 + [True]


def test_the_limit_counts_from_when_there_was_something_to_do() -> None:
    idle = ((float(second), 0, 0) for second in range(1, 6))
    assert _answers(*idle, *((6.0 + second, 0, 1) for second in range(4))) == [False] * 8 + [True]


def test_a_worker_that_was_stopped_itself_does_not_blame_its_engine() -> None:
    assert _answers((1.0, 1, 1), (600.0, 1, 1), (601.0, 2, 1), (602.0, 2, 1)) == [False] * 4


def test_a_worker_may_be_fenced_once() -> None:
    assert not FenceWatch().on_fenced(0.0)


def test_fenced_twice_within_ten_seconds_is_too_often() -> None:
    watch = FenceWatch()
    watch.on_fenced(0.0)
    assert watch.on_fenced(FENCED_WITHIN_S)


def test_fenced_again_much_later_is_the_first_time_again() -> None:
    watch = FenceWatch()
    watch.on_fenced(0.0)
    assert not watch.on_fenced(FENCED_WITHIN_S + 0.1)
    assert watch.on_fenced(FENCED_WITHIN_S + 0.2)
