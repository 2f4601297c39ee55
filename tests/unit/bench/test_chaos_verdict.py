"""Figures and gates of the chaos bench."""

import pytest

from pipeline.settings import SimulatedDeployment
from tests.bench.chaos.judge import Problem, Violation
from tests.bench.chaos.ledger import Ledger, Strike
from tests.bench.chaos.plan import Fault
from tests.bench.chaos.run import Outcome
from tests.bench.chaos.verdict import repeated_work_percent, tell
from tests.bench.report import Report
from topics.responses import Started

ENGINE = SimulatedDeployment(fixed_us=33_000, per_sequence_us=0, per_prefill_token_us=100)


def a_ledger(*, resumed_at_s: float = 12.0) -> Ledger:
    """A stream of 10 prompt tokens that a killed worker held, with 5 tokens before the take-over and 5 after it."""
    ledger = Ledger()
    for term, worker, mode, tokens, at_s in ((1, "w1", "fresh", 0, 9.0), (2, "w2", "resume", 5, resumed_at_s)):
        ledger.on_owner(0, term, worker)
        started = Started(
            id="r",
            origin="o/0/0",
            attempt=worker,
            mode="fresh" if mode == "fresh" else "resume",
            hop=0,
            dispatch="d/0/7",
            term=term,
            deployment="m@v1",
        )
        ledger.on_started("r", started, tokens=tokens, prompt_tokens=10, at_s=at_s)
        ledger.on_tokens("r", 5, at_s)
        if worker == "w1":
            held = dict.fromkeys([f"other-{i}" for i in range(19)], "a") | ledger.held_by("w1")
            ledger.strikes.append(Strike(fault=Fault.WORKER_KILL, target="w1", at_s=9.5, until_s=13.5, held=held))
    ledger.on_ended("r", resumed_at_s + 0.1)
    return ledger


def gates_of(ledger: Ledger, outcome: Outcome) -> dict[str, bool]:
    report = Report("chaos")
    counts = {Fault.WORKER_KILL: 1}
    tell(report, outcome, ledger, counts=counts, senders=1, double_dispatches=0, session_s=2.0, engine=ENGINE)
    return {gate.gate: gate.holds for gate in report.gates}


def test_a_run_without_a_violation_passes() -> None:
    outcome = Outcome(asked=1, told=1, accepted={"o/0/0": ("r", "w2")}, pauses_s=[0.05, 3.0])
    assert all(gates_of(a_ledger(), outcome).values())


@pytest.mark.parametrize("problem", Problem)
def test_any_violation_fails_its_gate(problem: Problem) -> None:
    wrong = Violation(request_id="r", reader="sdk", problem=problem, detail="")
    outcome = Outcome(asked=1, told=1, accepted={"o/0/0": ("r", "w2")}, violations=[wrong])
    assert list(gates_of(a_ledger(), outcome).values()).count(False) == 1


def test_a_request_without_an_end_fails_two_gates() -> None:
    assert list(gates_of(a_ledger(), Outcome(asked=1)).values()).count(False) == 2


def test_a_slow_take_over_fails() -> None:
    outcome = Outcome(asked=1, told=1, accepted={"o/0/0": ("r", "w2")})
    gates = gates_of(a_ledger(resumed_at_s=13.1), outcome)
    assert [gate for gate, holds in gates.items() if not holds] == ["take-over after kill -9, s, at most"]


def test_repeated_work_is_what_was_computed_twice() -> None:
    """15 tokens at 100 us were prefilled again; 10 prompt tokens at 100 us and 10 tokens at 1,000 us were needed."""
    assert repeated_work_percent(a_ledger(), ENGINE) == pytest.approx(100 * 1_500 / 11_000)
