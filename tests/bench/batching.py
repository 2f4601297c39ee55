"""Batching against the best of others, in virtual time: every gate on three seeds, the worst of each kept.

Run-to-completion batches and continuous batching are simulated with the product's own scheduler; baselines have the
configuration that is best in their cell. Two processes share the work. How fast decisions are made is measured first,
while nothing else runs.
"""

import argparse
import math
import sys
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any, Final

from tests.bench.report import Gate, Report, progress
from tests.simulation import llm_gates, llm_speed, rtc_gates, rtc_speed
from tests.simulation.rtc_cells import SEEDS
from tests.simulation.verdicts import worst

DECISIONS_PER_S: Final = 50_000.0
DECISION_P99_US: Final = 200.0
STEERED_PER_S: Final = 3_000.0
QUEUES: Final = (1_000, 100_000)
"""Requests that wait in the shortest and in the longest queue of which the speeds are compared."""
GROWTH: Final = math.log(QUEUES[1]) / math.log(QUEUES[0])
"""What a request may cost more in the longest queue: its work may grow as the logarithm of the length."""

Asked = tuple[Callable[[Any], list[Gate]], Any]
"""A question, and the seed or all the seeds that it is asked about."""


def _answer(asked: Asked) -> list[Gate]:
    question, seeds = asked
    return question(seeds)


def _all_gates(seeds: tuple[int, ...], processes: int) -> list[Gate]:
    """Every question on every seed, or on all of them together, the longest ones first."""
    asked: list[Asked] = [(question, seeds) for question in (*rtc_gates.POOLED, *llm_gates.POOLED)]
    asked += [(question, seed) for question in (*llm_gates.QUESTIONS, *rtc_gates.GATES) for seed in seeds]
    gates: list[Gate] = []
    with get_context("spawn").Pool(processes) as pool:
        for done, answered in enumerate(pool.imap_unordered(_answer, asked), start=1):
            gates += answered
            progress(f"{done} of {len(asked)} questions: {_named(answered)}")
    return gates


def _named(gates: list[Gate]) -> str:
    """Which gates these are, by their numbers, and whether all of them hold."""
    numbers = ", ".join(dict.fromkeys(gate.gate.partition(" ")[0] for gate in gates))
    return f"{numbers} {'holds' if all(gate.holds for gate in gates) else 'does not hold'}"


def _by_name(gates: list[Gate]) -> list[Gate]:
    """R1 to R11, then the others; those of a number in the order in which they were asked."""
    return sorted(gates, key=lambda gate: (gate.gate[0] != "R", gate.gate[0], int(gate.gate[1:3].strip())))


def _speeds(report: Report) -> None:
    """How long decisions take, and how that grows with the queues."""
    whole = {queued: rtc_speed.measure_best(queued=queued) for queued in (rtc_speed.QUEUED, *QUEUES)}
    usual = whole[rtc_speed.QUEUED]
    report.at_least("P1 run-to-completion decisions per second", usual.requests_per_s, DECISIONS_PER_S)
    report.at_most("P1 run-to-completion p99 us of a call that decides", usual.call_p99_us, DECISION_P99_US)
    streamed = {queued: llm_speed.measure_best(queued=queued) for queued in (llm_speed.QUEUED, *QUEUES)}
    steered = streamed[llm_speed.QUEUED]
    report.at_least("P1 continuous requests decided per second, 8 workers", steered.requests_per_s, STEERED_PER_S)
    report.figure("p1_continuous_call_p99_us", steered.call_p99_us)
    for queued, speed in whole.items():
        report.figure(f"p1_run_to_completion_batch_p50_us, {queued} queued", speed.batch_p50_us)
        report.figure(f"p1_run_to_completion_worst_call_us, {queued} queued", speed.worst_us)
    short, long = QUEUES
    name = f"P1 time per request at {long} queued over {short}"
    report.at_most(f"{name}, run to completion", whole[long].request_us / whole[short].request_us, GROWTH)
    report.at_most(f"{name}, continuous", streamed[long].request_us / streamed[short].request_us, GROWTH)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    report = Report("batching")
    progress("how fast decisions are made")
    _speeds(report)
    report.gates += _by_name(worst(_all_gates(tuple(options.seeds), options.processes)))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
