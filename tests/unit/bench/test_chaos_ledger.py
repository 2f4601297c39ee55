"""What strikes cost readers, by the log."""

import pytest

from tests.bench.chaos.ledger import Ledger, Strike
from tests.bench.chaos.plan import Fault
from topics.responses import Mode, Started

DISPATCH = "inference.dispatch.m.v1/2/17"


def a_start(attempt: str, mode: Mode = "fresh", *, term: int = 5) -> Started:
    return Started(
        id="r", origin="o/0/0", attempt=attempt, mode=mode, hop=0, dispatch=DISPATCH, term=term, deployment="m@v1"
    )


def a_strike(ledger: Ledger, *, at_s: float, until_s: float = 0.0, fault: Fault = Fault.WORKER_KILL) -> Strike:
    strike = Strike(fault=fault, target="w1", at_s=at_s, until_s=until_s or at_s + 4, held=ledger.held_by("w1"))
    ledger.strikes.append(strike)
    return strike


@pytest.fixture
def ledger() -> Ledger:
    """A request of 100 prompt tokens runs on w1, tokens at 10.0 and 10.1."""
    ledger = Ledger()
    ledger.on_owner(2, 5, "w1")
    ledger.on_started("r", a_start("a"), tokens=0, prompt_tokens=100, at_s=9.9)
    ledger.on_tokens("r", 1, 10.0)
    ledger.on_tokens("r", 1, 10.1)
    return ledger


def test_streams_are_held_by_whoever_marked_their_slot(ledger: Ledger) -> None:
    assert ledger.held_by("w1") == {"r": "a"}
    assert ledger.held_by("w2") == {}


def test_a_take_over_is_timed_from_the_strike_to_the_first_token_of_another(ledger: Ledger) -> None:
    a_strike(ledger, at_s=10.12)
    ledger.on_tokens("r", 1, 10.15)
    ledger.on_owner(2, 9, "w2")
    ledger.on_started("r", a_start("b", "resume", term=9), tokens=3, prompt_tokens=100, at_s=12.5)
    ledger.on_tokens("r", 1, 12.6)
    ledger.on_ended("r", 12.7)
    (wait,) = ledger.waits
    assert wait.taken_over_s == pytest.approx(2.48)
    assert wait.silence_s == pytest.approx(2.45)
    assert (ledger.recomputed_tokens, ledger.void_tokens) == (103, 0)
    assert ledger.resuming_s == [pytest.approx(0.1)]
    assert ledger.open == 0


def test_a_stream_that_ended_undisturbed_was_not_taken_over(ledger: Ledger) -> None:
    a_strike(ledger, at_s=10.12, fault=Fault.DRAIN)
    ledger.on_tokens("r", 1, 10.2)
    ledger.on_ended("r", 10.3)
    (wait,) = ledger.waits
    assert wait.taken_over_s is None
    assert wait.silence_s == pytest.approx(0.1)


def test_a_restart_makes_tokens_void(ledger: Ledger) -> None:
    ledger.on_started("r", a_start("b", "restart", term=9), tokens=2, prompt_tokens=100, at_s=12.5)
    assert (ledger.recomputed_tokens, ledger.void_tokens, ledger.modes) == (100, 2, {"fresh": 1, "restart": 1})


def test_strikes_that_overlap_are_told_apart_from_those_that_do_not() -> None:
    ledger = Ledger()
    strikes = [a_strike(ledger, at_s=at_s, until_s=until_s) for at_s, until_s in ((10, 14), (13, 18), (19, 23))]
    assert [ledger.is_alone(strike) for strike in strikes] == [False, False, True]
