"""Who can be drained, how far a drain is, and when it is over."""

import pytest

from pipeline.cli.farewell import Farewell, Heard, order
from tests.unit.worker.builders import a_dispatch
from topics.control import Drain
from topics.dispatches import Return
from topics.errors import SettingsError, TransportError
from topics.fleet import Credits, Heartbeat, Limits, WorkerState

NOW_MS = 1_000_000


def _heartbeat(
    worker: str, *, run: str = "r1", state: WorkerState = "ready", deployment: str = "m@v1", running: int = 0
) -> Heartbeat:
    return Heartbeat(
        worker=worker,
        run=run,
        seq=1,
        at_ms=NOW_MS,
        model="m",
        deployment=deployment,
        engine="simulated",
        state=state,
        running=running,
        credits=Credits(free_sequences=1, free_kv_tokens=1),
        limits=Limits(max_sequences=1, max_kv_tokens=1, max_batch_tokens=1, max_context_tokens=1),
    )


def _order(*heartbeats: Heartbeat, worker: str = "a", is_last_allowed: bool = False, silent_ms: int = 0) -> Drain:
    heard = [Heard(heartbeat=heartbeat, at_ms=NOW_MS - silent_ms) for heartbeat in heartbeats]
    return order(heard, worker, grace_ms=2000, is_last_allowed=is_last_allowed, now_ms=NOW_MS)


def test_an_order_names_the_worker_and_this_start_of_it() -> None:
    assert _order(_heartbeat("a", run="r7"), _heartbeat("b")) == Drain(worker="a", run="r7", grace_ms=2000)


def test_an_unknown_worker_is_told_with_those_that_there_are() -> None:
    with pytest.raises(SettingsError, match="no worker 'x'; there are: a, b"):
        _order(_heartbeat("b"), _heartbeat("a"), _heartbeat("c", state="stopped"), worker="x")


def test_where_there_is_no_worker_that_is_said() -> None:
    with pytest.raises(SettingsError, match="no worker 'a'; there are: none"):
        _order()


def test_a_silent_worker_cannot_be_told() -> None:
    with pytest.raises(TransportError, match="worker a has been silent for 5 s"):
        _order(_heartbeat("a"), _heartbeat("b"), silent_ms=5000)


@pytest.mark.parametrize(
    "other",
    [_heartbeat("b", deployment="m@v2"), _heartbeat("b", state="loading"), _heartbeat("b", state="draining")],
)
def test_the_last_worker_that_serves_is_not_drained_by_accident(other: Heartbeat) -> None:
    with pytest.raises(SettingsError, match="the only one of m@v1"):
        _order(_heartbeat("a"), other)
    assert _order(_heartbeat("a"), other, is_last_allowed=True).worker == "a"


def _farewell() -> Farewell:
    return Farewell(Drain(worker="a", run="r1"), since_ms=NOW_MS)


def test_progress_is_what_the_worker_still_has_and_what_it_gave_back() -> None:
    farewell = _farewell()
    farewell.on_heartbeat(_heartbeat("a", state="draining", running=3), at_ms=NOW_MS)
    farewell.on_heartbeat(_heartbeat("b", running=9), at_ms=NOW_MS)
    farewell.on_return(Return(dispatch=a_dispatch(), dispatched_at_ms=1, worker="a", reason="drained"))
    farewell.on_return(Return(dispatch=a_dispatch(), dispatched_at_ms=1, worker="b", reason="drained"))
    assert farewell.progress == "3 running, 0 waiting, 1 handed back"
    assert farewell.state(NOW_MS + 3000) == "draining"


def test_a_worker_that_says_goodbye_has_stopped() -> None:
    farewell = _farewell()
    farewell.on_heartbeat(_heartbeat("a", state="stopped"), at_ms=NOW_MS)
    assert farewell.state(NOW_MS) == "stopped"


def test_a_worker_that_falls_silent_is_gone() -> None:
    assert _farewell().state(NOW_MS + 3001) == "gone"


def test_a_worker_whose_successor_speaks_is_gone() -> None:
    farewell = _farewell()
    farewell.on_heartbeat(_heartbeat("a", run="r2"), at_ms=NOW_MS)
    assert farewell.state(NOW_MS) == "gone"
