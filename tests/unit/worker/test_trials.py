"""Requests that engines and workers die of: found, sent to the dead letters, and nobody is taken along."""

import pytest

from pipeline.engines.protocol import Output
from pipeline.worker.blame import Blame
from pipeline.worker.effects import Leave, Send, Submit
from tests.unit.worker.builders import a_dispatch
from tests.unit.worker.test_core import NOW_US, Bench, an_end, answers, kinds, of
from topics import names
from topics.codec import decode_response, decode_return
from topics.dispatches import Dispatch
from topics.responses import Failed, Started


def _dispatch(number: int) -> Dispatch:
    return a_dispatch(id=f"r{number}", origin=f"inference.requests.m.interactive/0/{number}")


class Ward(Bench):
    """A bench on which engines die."""

    def __init__(self, count: int) -> None:
        super().__init__()
        for number in range(count):
            self.take(_dispatch(number))

    @property
    def running(self) -> list[str]:
        """Attempts that the engine has, in the order of their starts."""
        return list(self.core._life.running)

    def id_of(self, attempt: str) -> str:
        return next(r.id for r in answers(self.effects) if isinstance(r, Started) and r.attempt == attempt)

    def die(self) -> None:
        """The engine dies, another one is ready, and the log was read."""
        self.keep(self.core.on_engine_dead(NOW_US))
        self.keep(self.core.on_engine_ready(NOW_US))
        self.read_log()

    def go_on(self, attempt: str, tokens: int = 8) -> None:
        self.outputs(Output(key=attempt, text="x", token_ids=[1] * tokens))
        self.read_log()

    @property
    def letters(self) -> int:
        return sum(send.topic == names.DEAD_LETTERS for send in of(self.effects, Send))

    @property
    def handed_back(self) -> list[str]:
        topic = names.returns_topic("m")
        return [decode_return(send.value).dispatch.id for send in of(self.effects, Send) if send.topic == topic]


def test_after_a_death_suspects_run_one_at_a_time_and_say_so() -> None:
    ward = Ward(3)
    ward.die()
    (trial,) = ward.running
    begun = [r for r in answers(ward.effects) if isinstance(r, Started) and r.on_trial]
    assert [r.attempt for r in begun] == [trial]


def test_the_one_on_trial_when_the_engine_dies_again_is_guilty_and_its_mates_recover() -> None:
    ward = Ward(3)
    ward.die()
    ward.go_on(ward.running[0])  # the first survives and runs on beside the next one
    ward.die()

    (end,) = [r for r in answers(ward.effects) if isinstance(r, Failed)]
    assert end.error is not None
    assert (end.id, end.error.code, ward.letters) == ("r1", "engine_dead", 1)
    for _ in range(2):
        ward.go_on(ward.running[-1])
    assert sorted(map(ward.id_of, ward.running)) == ["r0", "r2"]
    ward.outputs(*map(an_end, ward.running))
    assert kinds(ward.effects).count("completed") == 2


def test_survivors_are_never_failed_however_often_their_neighbours_kill_the_engine() -> None:
    ward = Ward(2)
    for victim in range(6):
        ward.die()
        while len(ward.running) < 2 and ward.core.waiting:
            ward.go_on(ward.running[-1])
        ward.outputs(an_end(ward.running[-1]))  # ends well, so that the worker may blame others
        ward.take(_dispatch(10 + victim))
    assert "failed" not in kinds(ward.effects)
    assert ward.letters == 0


def test_a_worker_that_would_blame_one_request_after_the_other_leaves_instead() -> None:
    ward = Ward(4)
    ward.die()
    ward.die()
    assert (kinds(ward.effects).count("failed"), ward.letters) == (1, 1)
    assert of(ward.effects, Leave) == []

    ward.die()
    (leave,) = of(ward.effects, Leave)
    assert leave.is_failure and "m@v1 dies of one request after the other" in leave.reason
    assert (kinds(ward.effects).count("failed"), ward.letters) == (1, 1)
    ward.keep(ward.core.on_drain())
    assert sorted(ward.handed_back) == ["r1", "r2", "r3"]


def _begun(attempt: str, term: int, *, trial: bool = False) -> Started:
    return Started(
        id="order-42",
        origin=a_dispatch().origin,
        attempt=attempt,
        mode="fresh" if term < 0 else "resume",
        hop=0,
        dispatch="inference.dispatch.m.v1/0/1",
        term=term,
        deployment="m@v1",
        on_trial=trial,
    )


def _successor(*before: Started) -> Bench:
    """A worker that takes over a request from others that died."""
    bench = Bench()
    bench.slot.term = 50
    bench.take(a_dispatch())
    bench.read_log(*before)
    return bench


DIED = (_begun("x", 10), _begun("y", 20), _begun("z", 30))


def test_a_request_that_three_workers_in_a_row_died_with_runs_on_trial() -> None:
    bench = _successor(*DIED)
    begun = [record for record in answers(bench.effects) if isinstance(record, Started)]
    assert [record.on_trial for record in begun] == [False, True]
    assert of(bench.effects, Submit) == []

    bench.read_log(*DIED)
    assert [submit.request.key for submit in of(bench.effects, Submit)] == ["a2"]


def test_others_wait_for_the_end_of_its_trial() -> None:
    bench = _successor(*DIED)
    bench.take(_dispatch(9))
    assert bench.core.waiting == 2
    bench.read_log(*DIED)
    bench.outputs(Output(key="a2", text="x", token_ids=[1] * 8))
    bench.read_log()
    assert [submit.request.key for submit in of(bench.effects, Submit)] == ["a2", "a3"]


TRIED = tuple(_begun(name, term, trial=True) for term, name in enumerate("xyz", start=10))


def test_a_request_with_which_three_workers_died_on_trial_ends_among_the_dead_letters() -> None:
    bench = _successor(*TRIED)
    assert of(bench.effects, Submit) == []
    (letter,) = [send for send in of(bench.effects, Send) if send.topic == names.DEAD_LETTERS]
    terminal = decode_response(next(s for s in of(bench.effects, Send) if s.is_last and s is not letter).value)
    assert isinstance(terminal, Failed) and terminal.error is not None
    assert terminal.error.code == "engine_dead"


def test_the_log_alone_never_makes_a_worker_leave() -> None:
    bench = Bench()
    bench.core._life.trials.blame.on_guilty()
    bench.slot.term = 50
    bench.take(a_dispatch())
    bench.read_log(*TRIED)
    bench.read_log(*TRIED)
    assert of(bench.effects, Leave) == []
    assert "failed" not in kinds(bench.effects)
    assert len(of(bench.effects, Submit)) == 1


@pytest.mark.parametrize(("others", "allowed"), [(0, 1), (5, 1), (6, 2), (20, 3)])
def test_how_many_requests_a_worker_may_blame(others: int, allowed: int) -> None:
    blame = Blame()
    for _ in range(others):
        blame.on_innocent()
    assert [blame.on_guilty() for _ in range(5)].count(True) == allowed
