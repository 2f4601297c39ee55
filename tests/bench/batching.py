"""Batching against the best of others, in virtual time: every gate on three seeds, the worst of each kept.

Run-to-completion batches and continuous batching are simulated with the product's own scheduler; baselines have the
configuration that is best in their cell. Two processes share the work. How fast decisions are made is measured first,
while nothing else runs.
"""

import argparse
import sys
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any, Final

from tests.bench.report import Gate, Report
from tests.simulation import llm_gates, llm_speed, rtc_gates, rtc_speed
from tests.simulation.rtc_cells import SEEDS
from tests.simulation.verdicts import worst

DECISIONS_PER_S: Final = 50_000.0
DECISION_P99_US: Final = 200.0
STEERED_PER_S: Final = 3_000.0

Asked = tuple[Callable[[Any], list[Gate]], Any]
"""A question, and the seed or all the seeds that it is asked about."""


def _answer(asked: Asked) -> list[Gate]:
    question, seeds = asked
    return question(seeds)


def _all_gates(seeds: tuple[int, ...], processes: int) -> list[Gate]:
    """Every question on every seed, or on all of them together, the longest ones first."""
    asked: list[Asked] = [(question, seeds) for question in (*rtc_gates.POOLED, *llm_gates.POOLED)]
    asked += [(question, seed) for question in (*llm_gates.QUESTIONS, *rtc_gates.GATES) for seed in seeds]
    with get_context("spawn").Pool(processes) as pool:
        return [gate for answered in pool.imap_unordered(_answer, asked) for gate in answered]


def _by_name(gates: list[Gate]) -> list[Gate]:
    """R1 to R11, then the others; those of a number in the order in which they were asked."""
    return sorted(gates, key=lambda gate: (gate.gate[0] != "R", gate.gate[0], int(gate.gate[1:3].strip())))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    report = Report("batching")
    speed = rtc_speed.measure_best()
    report.at_least("P1 run-to-completion decisions per second", speed.requests_per_s, DECISIONS_PER_S)
    report.at_most("P1 run-to-completion p99 us per request", speed.request_p99_us, DECISION_P99_US)
    report.figure("p1_run_to_completion_call_p99_us", speed.call_p99_us)
    steered = llm_speed.measure_best()
    report.at_least("P1 continuous requests decided per second, 8 workers", steered.requests_per_s, STEERED_PER_S)
    report.figure("p1_continuous_call_p99_us", steered.call_p99_us)
    report.gates += _by_name(worst(_all_gates(tuple(options.seeds), options.processes)))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
