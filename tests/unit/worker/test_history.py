"""What earlier attempts in the log say about the next one."""

import pytest

from pipeline.worker.history import History, Standing
from topics.reader import Reader
from topics.responses import Delta, Progress, Response, Started

HERE = "inference.dispatch.m.v1/0/7"


def _started(attempt: str, *, trial: bool = False, hop: int = 0, dispatch: str = HERE) -> Started:
    """Of a worker whose term is the first letter of the attempt."""
    return Started(
        id="r",
        origin="o",
        attempt=attempt,
        mode="restart",
        hop=hop,
        dispatch=dispatch,
        term=ord(attempt[0]),
        deployment="m@v1",
        on_trial=trial,
    )


def _tokens(attempt: str, count: int, *, seq: int = 0) -> Delta:
    return Delta(id="r", origin="o", attempt=attempt, seq=seq, text="", token_ids=[1] * count)


def _standing(*records: Response, dispatch: str = HERE, term: int = 1000) -> Standing:
    reader, history = Reader(), History()
    for record in records:
        history.feed(record, reader.feed(record))
    return history.standing(dispatch, term)


def test_a_request_without_attempts_is_clear() -> None:
    assert _standing() is Standing.CLEAR


@pytest.mark.parametrize("lives", [1, 2])
def test_a_few_attempts_without_an_end_say_nothing(lives: int) -> None:
    assert _standing(*map(_started, "abc"[:lives])) is Standing.CLEAR


def test_attempts_of_one_worker_count_once() -> None:
    assert _standing(*(_started(f"a{number}") for number in range(5))) is Standing.CLEAR


def test_attempts_of_the_worker_that_asks_do_not_count() -> None:
    records = (_started("a"), _started("b"), _started("c1"), _started("c2", trial=True))
    assert _standing(*records, term=ord("c")) is Standing.CLEAR


def test_three_workers_in_a_row_that_came_to_nothing_make_a_suspect() -> None:
    assert _standing(_started("a"), _tokens("a", 7), _started("b"), _started("c")) is Standing.SUSPECT


def test_attempts_that_got_on_were_not_killed_by_their_request() -> None:
    records = (_started("a"), _started("b"), _started("c"), _tokens("c", 8), _started("d"), _started("e"))
    assert _standing(*records) is Standing.CLEAR
    assert _standing(*records, _started("f")) is Standing.SUSPECT


@pytest.mark.parametrize("trials", [1, 2])
def test_a_trial_that_came_to_nothing_makes_a_suspect(trials: int) -> None:
    assert _standing(*(_started(attempt, trial=True) for attempt in "ab"[:trials])) is Standing.SUSPECT


def test_three_trials_that_came_to_nothing_convict() -> None:
    trials = [_started(attempt, trial=True) for attempt in "bcd"]
    assert _standing(_started("a"), *trials, _tokens("d", 7)) is Standing.CONVICTED


def test_a_trial_that_was_survived_clears() -> None:
    trials = [_started(attempt, trial=True) for attempt in "abc"]
    assert _standing(*trials, _tokens("c", 8), _started("d")) is Standing.CLEAR


def test_a_worker_that_lets_go_of_an_attempt_has_not_died_of_it() -> None:
    lets_go = Progress(id="r", origin="o", attempt="b", seq=0, token_ids=[])
    assert _standing(_started("a"), _started("b"), lets_go, _started("c")) is Standing.CLEAR
    assert _standing(_started("a"), _started("b"), _started("c"), lets_go) is Standing.CLEAR


def test_a_record_that_comes_too_late_shows_that_its_worker_lived() -> None:
    records = (_started("a"), _started("b"), _started("c"), _tokens("a", 1))
    assert _standing(*records) is Standing.CLEAR


def test_an_attempt_that_does_not_count_by_the_reader_rule_does_not_count_here() -> None:
    ignored = _started("x", dispatch="inference.dispatch.m.v1/1/3")
    assert _standing(_started("a"), ignored) is Standing.CLEAR


def test_a_request_that_was_handed_back_begins_anew() -> None:
    there = "inference.dispatch.m.v1/2/9"
    records = [_started(attempt, trial=True) for attempt in "abc"]
    assert _standing(*records, dispatch=there) is Standing.CLEAR
    assert _standing(*records, _started("d", hop=1, dispatch=there), dispatch=there) is Standing.CLEAR
