"""Figures and gates of a run. Pure."""

from collections import Counter

from pipeline.settings import SimulatedDeployment
from tests.bench.chaos.judge import Problem
from tests.bench.chaos.ledger import Ledger, Wait
from tests.bench.chaos.plan import Fault
from tests.bench.chaos.run import Outcome
from tests.bench.report import Report, percentile

TAKE_OVER_S = 1.5
"""After the session's time-out."""
DRAIN_PAUSE_MS = 500.0


def tell(
    report: Report,
    outcome: Outcome,
    ledger: Ledger,
    *,
    counts: dict[Fault, int],
    senders: int,
    double_dispatches: int,
    session_s: float,
    engine: SimulatedDeployment,
) -> None:
    """Add everything that the run has shown to the report."""
    _faults(report, outcome, ledger, counts)
    _truth(report, outcome, ledger)
    _take_overs(report, ledger, session_s)
    report.figure("processor_lives_that_dispatched", senders)
    report.figure("double_dispatches", double_dispatches)
    report.figure("processes_that_ended_by_themselves", len(outcome.surprises))
    report.figure("repeated_gpu_work_percent", repeated_work_percent(ledger, engine))


def repeated_work_percent(ledger: Ledger, engine: SimulatedDeployment) -> float:
    """Engine time spent on tokens that had been computed before, in per cent of what one computation of all takes.

    By the cost model: a token of a prompt, or of an answer that is continued, costs `per_prefill_token_us`; a
    generated one its share of a step at the third of a hundred sequences that each worker holds.
    """
    decode_us = engine.per_sequence_us + engine.fixed_us / 33
    once = ledger.prompt_tokens * engine.per_prefill_token_us + ledger.accepted_tokens * decode_us
    again = ledger.recomputed_tokens * engine.per_prefill_token_us
    again += (ledger.ignored_tokens + ledger.void_tokens) * decode_us
    return 100 * again / once if once else 0.0


def _faults(report: Report, outcome: Outcome, ledger: Ledger, counts: dict[Fault, int]) -> None:
    dealt = Counter(strike.fault for strike in ledger.strikes)
    for fault in Fault:
        report.figure(f"faults_{fault}", dealt[fault])
        if counts.get(fault):
            report.at_least(f"faults dealt: {fault}", dealt[fault], counts[fault])
    kills = [len(strike.held) for strike in ledger.strikes if strike.fault is Fault.WORKER_KILL]
    if kills:
        report.at_least("fewest streams that a killed worker held", min(kills), 20)
    report.figure("requests", outcome.asked)
    report.figure("tokens", ledger.accepted_tokens)


def _truth(report: Report, outcome: Outcome, ledger: Ledger) -> None:
    found = Counter(violation.problem for violation in outcome.violations)
    for problem in Problem:
        report.at_most(f"answers or tokens {problem.replace('_', ' ')}", found[problem], 0)
    report.at_most("requests without a terminal record in the log", outcome.asked - len(outcome.accepted), 0)
    report.at_most("requests whose SDK reader has no end", outcome.asked - outcome.told, 0)
    report.at_most("streams that began again", ledger.modes.get("restart", 0), 0)
    report.figure("starts_fresh", ledger.modes.get("fresh", 0))
    report.figure("take_overs_resume", ledger.modes.get("resume", 0))
    report.figure("take_overs_restart", ledger.modes.get("restart", 0))
    if ledger.resuming_s:
        report.figure("resume_to_token_p50_ms", 1000 * percentile(ledger.resuming_s, 0.50))
        report.figure("resume_to_token_p99_ms", 1000 * percentile(ledger.resuming_s, 0.99))
    report.figure("final_rows_told_twice", outcome.raw_doubles)
    report.figure("pause_p50_ms", 1000 * percentile(outcome.pauses_s, 0.50))
    report.figure("pause_p99_ms", 1000 * percentile(outcome.pauses_s, 0.99))
    report.figure("pause_max_ms", 1000 * max(outcome.pauses_s, default=0.0))


def _take_overs(report: Report, ledger: Ledger, session_s: float) -> None:
    """Gates are on strikes that nothing else disturbed: what two at a time cost has no limit of its own."""
    kills = [wait for wait in ledger.waits if wait.strike.fault is Fault.WORKER_KILL and wait.taken_over_s is not None]
    drains = [wait for wait in ledger.waits if wait.strike.fault is Fault.DRAIN]
    for name, waits in (("kill", kills), ("drain", drains)):
        silences = [1000 * wait.silence_s for wait in waits]
        if not silences:
            continue
        report.figure(f"gap_after_{name}_p50_ms", percentile(silences, 0.50))
        report.figure(f"gap_after_{name}_p99_ms", percentile(silences, 0.99))
    alone_kills, alone_drains = _alone(ledger, kills), _alone(ledger, drains)
    report.figure("undisturbed_kills", len({wait.strike.at_s for wait in alone_kills}))
    report.figure("undisturbed_drains", len({wait.strike.at_s for wait in alone_drains}))
    if alone_kills:
        taken = [wait.taken_over_s or 0.0 for wait in alone_kills]
        report.figure("take_over_p50_s", percentile(taken, 0.50))
        report.at_most("take-over after kill -9, s, at most", max(taken), session_s + TAKE_OVER_S)
    if alone_drains:
        pauses = [1000 * wait.silence_s for wait in alone_drains]
        report.at_most("pause around a drain, p99, ms", percentile(pauses, 0.99), DRAIN_PAUSE_MS)


def _alone(ledger: Ledger, waits: list[Wait]) -> list[Wait]:
    return [wait for wait in waits if ledger.is_alone(wait.strike)]
