"""What run-to-completion batching has to reach, on one seed each: the product's scheduler against tuned baselines.

Baselines play with the configuration that was best in their cell over all seeds (`rtc_baselines.json`, made by
`rtc_tuning`). Every function is one question; its gates say by which figure and limit.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from pipeline.simulation.arrivals import SHAPES, Shape
from pipeline.simulation.rtc.engine import Engine
from pipeline.simulation.rtc.world import Results, Sent, Silence, Traffic
from processors.batching.controller import Decision
from processors.batching.run_to_completion import RunToCompletion
from tests.bench.report import Gate
from tests.simulation.rtc_cells import (
    DEFAULT_ENGINE,
    ONE_CLASS,
    Cell,
    Policy,
    mean_of,
    play_baseline,
    play_controller,
    play_product,
)
from tests.simulation.rtc_tuning import CLASS_LOADS, FIXED, class_cell
from tests.simulation.verdicts import at_least, at_most

BASELINES: Final = Path(__file__).with_name("rtc_baselines.json")
SETTLED_S: Final = 2.0
DRIFT_AT_S: Final = 4.0
WINDOW: Final = 10
"""Batches over which a learned value is looked at: one may be a straggler."""
SILENCE: Final = (5.0, 6.0)
TIE: Final = 0.998
"""At little load bursts leave nobody more than a few of 20,000 requests: fewer than one in 500 are no difference."""
EMBEDDINGS: Final = Engine(base_s=0.004, each_s=0.0001, token_s=6e-6, max_size=256)
EMBEDDING_SLO_S: Final = 0.100
TOKENS_MEDIAN: Final = 150
TOKENS_SIGMA: Final = 0.9
TOKENS_MOST: Final = 2048


@cache
def frozen() -> dict[str, Any]:
    """Best configurations and figures, by cell and policy."""
    return dict(msgspec.json.decode(BASELINES.read_bytes()))


def baseline(policy: str, cell: Cell, seed: int) -> Results:
    """A baseline with the configuration that was best in this cell."""
    options = frozen()[cell.key][policy]["options"]
    played: Policy = "triton" if policy == "fixed" else policy  # type: ignore[assignment]
    return play_baseline(played, options, cell, seed)


def r1(seed: int) -> list[Gate]:
    """Little traffic is served as if nothing were batched."""
    cell = Cell(shape="poisson", load=0.1)
    ours, single = play_product(cell, seed), baseline("single", cell, seed)
    return [
        at_most("R1 p50 over no batching, rho .1", ours.latency_s(0.5) / single.latency_s(0.5), 1.10),
        at_least("R1 goodput, rho .1", ours.goodput(), 0.999),
    ]


def r2(seed: int) -> list[Gate]:
    """Moderate traffic is faster than with a fixed size and delay."""
    gates = []
    for load in (0.3, 0.5, 0.7):
        cell = Cell(shape="poisson", load=load)
        ours, fixed = play_product(cell, seed), play_baseline("triton", FIXED, cell, seed)
        gates += [
            at_most(f"R2 p50 over fixed 32/5 ms, rho {load}", ours.latency_s(0.5) / fixed.latency_s(0.5), 0.85),
            at_least(f"R2 goodput, rho {load}", ours.goodput(), 0.997),
        ]
    return gates


def r3(seed: int) -> list[Gate]:
    """The hop through the broker is hidden."""
    cell = Cell(shape="poisson", load=0.85)
    ours = play_product(cell, seed).goodput()
    return [
        at_least("R3 goodput, rho .85", ours, 0.99),
        at_least("R3 over best static, rho .85", ours / baseline("triton", cell, seed).goodput(), 1.03),
        at_least("R3 over CORK, rho .85", ours / baseline("cork", cell, seed).goodput(), 1.08),
    ]


def r4(seed: int) -> list[Gate]:
    """At the limit of capacity."""
    cell = Cell(shape="poisson", load=1.0)
    ours = play_product(cell, seed).goodput()
    return [
        at_least("R4 goodput, rho 1.0", ours, 0.90),
        at_least("R4 over best static, rho 1.0", ours / baseline("triton", cell, seed).goodput(), 1.08),
        at_least("R4 over CORK, rho 1.0", ours / baseline("cork", cell, seed).goodput(), 1.10),
        at_least("R4 over AIMD, rho 1.0", ours / max(baseline("aimd", cell, seed).goodput(), 1e-6), 100.0),
    ]


def r5(seed: int) -> list[Gate]:
    """Overload does not collapse."""
    full = play_product(Cell(shape="poisson", load=1.0), seed).good_per_s
    return [
        at_least(
            f"R5 good req/s over those at rho 1.0, rho {load}",
            play_product(Cell(shape="poisson", load=load), seed).good_per_s / full,
            0.98,
        )
        for load in (1.3, 2.0, 3.0)
    ]


def r6(seeds: Sequence[int]) -> list[Gate]:
    """Bursts: over all seeds together, because 12 s of one seed may hold hardly any; and on each never worse."""
    gates = []
    for load in (0.3, 0.7, 1.0):
        cell = Cell(shape="mmpp", load=load)
        ours = [play_product(cell, seed).goodput() for seed in seeds]
        static = [baseline("triton", cell, seed).goodput() for seed in seeds]
        fixed = [play_baseline("triton", FIXED, cell, seed).goodput() for seed in seeds]
        least = min(mine / theirs for mine, theirs in zip(ours, static, strict=True))
        gates += [
            at_least(f"R6 over best static, MMPP {load}", sum(ours) / sum(static), 1.02),
            at_least(f"R6 over fixed 32/5 ms, MMPP {load}", sum(ours) / sum(fixed), 1.4),
            at_least(f"R6 over best static on each seed, MMPP {load}", least, 1.0),
        ]
    return gates


def r7(seeds: Sequence[int]) -> list[Gate]:
    """Capacity at 99 % goodput, in requests per second and worker; seeds of its own, 100 above.

    The mean of all seeds decides, as it did when the capacities of the baselines were searched for.
    """
    low, high = 0.80, 0.92
    for _ in range(6):
        load = (low + high) / 2
        cell = Cell(shape="poisson", load=load)
        if mean_of(play_product(cell, seed + 100).goodput() for seed in seeds) >= 0.99:
            low = load
        else:
            high = load
    ours = low * DEFAULT_ENGINE.capacity_per_s()
    gates = []
    for policy, limit in (("fixed", 1.12), ("triton", 1.03), ("aimd", 1.18), ("cork", 1.18), ("single", 5.0)):
        gates.append(
            at_least(f"R7 capacity over {policy}", ours / frozen()[f"capacity {policy}"]["capacity_per_s"], limit)
        )
    return gates


def r8(seed: int) -> list[Gate]:
    """Workers become slower by half."""
    engine = replace(DEFAULT_ENGINE, drift_at_s=DRIFT_AT_S, drift_factor=1.5)
    cell = Cell(shape="poisson", load=0.62, engine=engine)
    ours = play_product(cell, seed).goodput()
    unlearned = play_product(cell, seed, learns=False).goodput()
    seen = _predictions(cell, seed)
    before = [safety for _, safety, sent in seen if DRIFT_AT_S - SETTLED_S <= sent.reached_s < DRIFT_AT_S]
    drifted = [each for each in seen if each[2].start_s >= DRIFT_AT_S]
    mean_off = [
        (sent.reached_s, abs(predicted_s / (1.5 * engine.mean_s(len(sent.requests))) - 1))
        for predicted_s, _, sent in drifted
    ]
    safety_off = [(sent.reached_s, abs(safety - mean_of(before))) for _, safety, sent in drifted]
    return [
        at_least("R8 goodput, drift x1.5 at rho .62", ours, 0.90),
        at_least("R8 over a frozen model", ours / unlearned, 2.0),
        at_most("R8 seconds until the mean is right within 10 %", _settled_s(mean_off, 0.10), SETTLED_S),
        at_most("R8 seconds until the safety factor is back within .08", _settled_s(safety_off, 0.08), SETTLED_S),
        at_most("R8 error of the mean from 2 s after the drift", mean_of(off for _, off in _late(mean_off)), 0.05),
    ]


def _settled_s(off: list[tuple[float, float]], tolerance: float) -> float:
    """Seconds from the drift until the mean of `WINDOW` values, by time, is within the tolerance for good."""
    last_s = 0.0
    for index in range(WINDOW, len(off) + 1):
        window = off[index - WINDOW : index]
        if mean_of(value for _, value in window) > tolerance:
            last_s = window[-1][0] - DRIFT_AT_S
    return last_s


def _late(off: list[tuple[float, float]]) -> list[tuple[float, float]]:
    begin_s = DRIFT_AT_S + SETTLED_S
    return [each for each in off if begin_s <= each[0] < begin_s + SETTLED_S]


def r9(seed: int) -> list[Gate]:
    """Requests of very different lengths."""
    gates = []
    for load, limit in ((0.95, 1.03), (1.2, 1.08)):
        cell = Cell(shape="poisson", load=load, engine=EMBEDDINGS, slo_s=(("realtime", EMBEDDING_SLO_S),))
        traffic = token_traffic(cell, seed)
        aware = play_product(cell, seed, traffic).goodput()
        counting = play_product(cell, seed, traffic, knows_tokens=False).goodput()
        gates.append(at_least(f"R9 token-aware over counting, rho {load}", aware / counting, limit))
    return gates


def r10(seed: int) -> list[Gate]:
    """Three classes share a pool."""
    gates = []
    for shape, load in [("poisson", load) for load in CLASS_LOADS] + [("mmpp", 0.3), ("mmpp", 0.6)]:
        cell = class_cell(shape, load)
        ours = play_product(cell, seed)
        options = frozen()[f"classes {cell.key}"]["priority"]["options"]
        strict = play_baseline("levels", options, cell, seed).goodput()
        least = 1.0 if shape == "poisson" else TIE
        gates.append(at_least(f"R10 total over strict priority, {shape} {load}", ours.goodput() / strict, least))
        if (shape, load) == ("poisson", 1.4):
            gates += [
                at_least("R10 realtime, rho 1.4", ours.goodput("realtime"), 0.97),
                at_least("R10 interactive, rho 1.4", ours.goodput("interactive"), 0.98),
                at_least("R10 total over strict priority, rho 1.4", ours.goodput() / strict, 1.08),
            ]
    return gates


def r11(seed: int) -> list[Gate]:
    """The latency model against the noise that nobody can predict."""
    cell = Cell(shape="poisson", load=0.7)
    predictions = _predictions(cell, seed)
    error = mean_of(abs(sent.service_s / predicted_s - 1) for predicted_s, _, sent in predictions)
    floor = mean_of(abs(sent.service_s / cell.engine.mean_s(len(sent.requests)) - 1) for *_, sent in predictions)
    return [at_most("R11 MAPE over the noise floor", error / floor, 1.3)]


def s1(seed: int) -> list[Gate]:
    """Workers say nothing for a second: one of four, whose work the others take, and all of them.

    While all are silent nothing can be given to them beyond one batch each, so that who comes then is too late. Who
    comes after that must not notice.
    """
    cell = Cell(shape="poisson", load=0.5)
    usual = play_product(cell, seed)
    silent = play_product(cell, seed, silence=Silence(workers=(1,), from_s=SILENCE[0], until_s=SILENCE[1]))
    everyone = play_product(cell, seed, silence=Silence(workers=(0, 1, 2, 3), from_s=SILENCE[0], until_s=SILENCE[1]))
    around, after = (SILENCE[0], SILENCE[1] + 0.5), (SILENCE[1] + ONE_CLASS["realtime"], cell.duration_s)
    return [
        at_most("S1 batches beyond credit, one worker silent", beyond_credit(silent), 1),
        at_most("S1 batches beyond credit, all workers silent", beyond_credit(everyone), 1),
        at_most("S1 goodput lost, one worker silent", usual.goodput() - silent.goodput(), 0.02),
        at_most("S1 goodput lost around it, one worker silent", _lost(usual, silent, around), 0.02),
        at_most("S1 goodput lost after it, all workers silent", _lost(usual, everyone, after), 0.02),
    ]


def _lost(usual: Results, other: Results, between_s: tuple[float, float]) -> float:
    """How much less of the arrivals between two times is good."""
    low_s, high_s = between_s
    chosen = [index for index, at_s in enumerate(usual.traffic.arrivals_s) if low_s <= at_s < high_s]
    return mean_of(usual.is_good(index) for index in chosen) - mean_of(other.is_good(index) for index in chosen)


GATES: Final[tuple[Callable[[int], list[Gate]], ...]] = (r1, r2, r3, r4, r5, r8, r9, r10, r11, s1)

POOLED: Final[tuple[Callable[[Sequence[int]], list[Gate]], ...]] = (r7, r6)
"""Questions that are asked about all seeds together."""


def token_traffic(cell: Cell, seed: int) -> Traffic:
    """Arrivals with lognormal lengths; the load is relative to batches of average ones."""
    rng = np.random.default_rng(seed)
    each = TOKENS_MEDIAN * float(np.exp(TOKENS_SIGMA**2 / 2))
    shape: Shape = cell.shape
    arrivals = SHAPES[shape](rng, cell.load * cell.workers * cell.engine.capacity_per_s(each), cell.duration_s)
    lengths = rng.lognormal(np.log(TOKENS_MEDIAN), TOKENS_SIGMA, len(arrivals))
    return Traffic(
        arrivals_s=arrivals.tolist(),
        classes=[cell.slo_s[0][0]] * len(arrivals),
        tokens=np.clip(lengths, 1, TOKENS_MOST).astype(int).tolist(),
        slo_s=dict(cell.slo_s),
        duration_s=cell.duration_s,
    )


class _Recorded(RunToCompletion):
    """Remembers what it expected of each batch and how safe it played, in the order of their sending."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.expected: list[tuple[float, float]] = []

    def decide(self, *, deployment: str, now_s: float) -> Decision:
        decision = super().decide(deployment=deployment, now_s=now_s)
        safety = self._forecaster.model(deployment).safety
        self.expected += [(batch.why.figures["service_s"], safety) for batch in decision.batches]
        return decision


def _predictions(cell: Cell, seed: int) -> list[tuple[float, float, Sent]]:
    """Of each batch: the seconds that were expected, the safety factor at that time, and what became of it."""
    made: list[_Recorded] = []

    def make(*parts: Any) -> _Recorded:
        made.append(_Recorded(*parts))
        return made[-1]

    results = play_controller(make, cell, seed)
    return [(*expected, sent) for expected, sent in zip(made[0].expected, results.batches, strict=True)]


def beyond_credit(results: Results) -> float:
    """The most batches that waited at one worker behind the one that it ran."""
    most = 0
    for worker in range(results.workers):
        sent = [batch for batch in results.batches if batch.worker == worker]
        for index, batch in enumerate(sent):
            most = max(most, sum(earlier.end_s > batch.reached_s for earlier in sent[max(0, index - 8) : index]))
    return float(most)
