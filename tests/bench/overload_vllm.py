"""Three times what vLLM can do, for a minute: who is admitted is answered in time, and who is not is told at once.

Real vLLM with a small model on the CPU. What it can do is measured first, with as many requests in flight as it runs.
At three times of that, interactive requests alone are more than enough: bulk gets what falls between them, next to
nothing, and waits. Then interactive load is half of what the engine can do, and bulk work has to fill the rest. The
overload then goes straight into the queue of another vLLM, which refuses nobody; one engine at a time.
"""

import argparse
import asyncio
import math
import random
import statistics
import sys
import time
from collections.abc import Iterable
from typing import Final

import numpy as np
import uvloop

from infra.devstack.model import MODEL
from pipeline.runtime.process import settle_memory
from tests.bench.arrivals import poisson
from tests.bench.open_loop import OpenLoop, Shot
from tests.bench.report import Report, progress
from tests.bench.side_by_side import PRODUCT, Ground, Way, side_by_side

OVERLOAD: Final = 3.0
HALF: Final = 0.5
FILLED: Final = 0.25
"""Least part of what interactive requests leave that bulk ones get: some sequences are kept free for the next ones."""
PROMPT_TOKENS: Final = 48
ANSWER_TOKENS: Final = (8, 24)
"""Answers are as long as any number of tokens between: equal ones would end in waves, as no real ones do."""
SEQUENCES: Final = 16
TTFT_S: Final = 2.0
TOKEN_S: Final = 0.5
TOLD_WITHIN_S: Final = 0.1
BULK: Final = 40
SEED: Final = 1
OURS: Final = Way(name=PRODUCT)
DIRECT: Final = Way(name="direct", policy="least_outstanding")
GROUND: Final = Ground(
    engine={
        "engine": "vllm",
        "path": MODEL,
        "dtype": "auto",
        "max_sequences": SEQUENCES,
        "max_context_tokens": 1024,
        "threads": 1,  # the other core is for everything else
    },
    classes={
        "interactive": {
            "priority": 1,
            "deadline_ms": 3_600_000,
            "ttft_ms": round(1000 * TTFT_S),
            "tpot_ms": round(1000 * TOKEN_S),
        },
        "bulk": {"priority": 3, "deadline_ms": 86_400_000, "e2e_ms": 3_600_000, "shed": False},
    },
    workers=1,
)


def shots_of(way: Way, times_s: Iterable[float], latency_class: str = "interactive") -> list[Shot]:
    """Requests due at these times, the same for every way."""
    lengths = random.Random(SEED)
    return [a_shot(way, at_s, latency_class, lengths.randint(*ANSWER_TOKENS)) for at_s in times_s]


def a_shot(way: Way, at_s: float, latency_class: str, answer_tokens: int) -> Shot:
    """One request."""
    return Shot(
        at_s=at_s,
        model=way.name,
        latency_class=latency_class,
        prompt_tokens=PROMPT_TOKENS,
        answer_tokens=answer_tokens,
        streams=True,
    )


async def capacity_per_s(loop: OpenLoop, way: Way, *, rounds: int) -> float:
    """Answers per second with all sequences of the engine occupied: what it reaches over some rounds of bulk work."""
    shots = shots_of(way, [0.0] * (SEQUENCES * rounds), "bulk")
    begin_s = time.monotonic()
    await loop.fire(shots, drain_s=300.0)
    if any(shot.outcome != "completed" for shot in shots):
        raise RuntimeError("the capacity could not be measured: some requests were not answered")
    return len(shots) / (time.monotonic() - begin_s)


async def overload(loop: OpenLoop, way: Way, rate_per_s: float, seconds: float) -> tuple[list[Shot], list[Shot]]:
    """Interactive requests at a rate, and bulk ones that are there from the beginning."""
    bulk = shots_of(way, [0.0] * BULK, "bulk")
    interactive = shots_of(way, poisson(rate_per_s, seconds, seed=SEED))
    await loop.fire([*bulk, *interactive], drain_s=seconds)
    return interactive, bulk


async def half_load(loop: OpenLoop, way: Way, capacity: float, seconds: float) -> tuple[list[Shot], list[Shot]]:
    """Interactive requests at half of the capacity, and more bulk ones from the beginning than can be answered."""
    bulk = shots_of(way, [0.0] * math.ceil(capacity * seconds), "bulk")
    interactive = shots_of(way, poisson(HALF * capacity, seconds, seed=SEED))
    await loop.fire([*bulk, *interactive], drain_s=2 * TTFT_S)
    return interactive, bulk


def answered_meanwhile(shots: list[Shot], seconds: float) -> int:
    """How many were answered whole while the load lasted."""
    return sum(shot.outcome == "completed" and _ended_at_s(shot) <= seconds for shot in shots)


def _ended_at_s(shot: Shot) -> float:
    return math.inf if shot.ended_s is None else shot.at_s + shot.ended_s


def in_time(shots: list[Shot]) -> float:
    """Share of the requests whose first token came within the target."""
    return statistics.fmean(shot.first_s is not None and shot.first_s <= TTFT_S for shot in shots) if shots else 0.0


def add_figures(report: Report, way: Way, interactive: list[Shot], bulk: list[Shot], seconds: float) -> None:
    """What one way made of the load."""
    rejected = [shot for shot in interactive if shot.outcome == "rejected"]
    admitted = [shot for shot in interactive if shot.outcome != "rejected"]
    report.figure(f"{way.name}_interactive_offered", len(interactive))
    report.figure(f"{way.name}_interactive_admitted", len(admitted))
    report.figure(f"{way.name}_interactive_in_time_per_s", in_time(interactive) * len(interactive) / seconds)
    report.figure(f"{way.name}_admitted_in_time_ratio", in_time(admitted))
    late = sum(shot.first_s is not None and shot.first_s > TTFT_S for shot in admitted)
    report.figure(f"{way.name}_admitted_answered_late", late)
    report.figure(f"{way.name}_admitted_dropped", sum(shot.first_s is None for shot in admitted))
    told_s = [shot.ended_s for shot in rejected if shot.ended_s is not None]
    report.figure(f"{way.name}_rejected", len(rejected))
    report.figure(f"{way.name}_rejected_p99_ms", 1000 * float(np.quantile(told_s, 0.99)) if told_s else 0.0)
    report.figure(f"{way.name}_bulk_answered", sum(shot.outcome == "completed" for shot in bulk))
    report.figure(f"{way.name}_bulk_answered_meanwhile", answered_meanwhile(bulk, seconds))


async def bench(seconds: float) -> int:
    """The whole benchmark; the exit code."""
    report = Report("overload_vllm")
    settle_memory()
    progress("an engine starts, and its capacity is measured")
    async with side_by_side([OURS], GROUND) as cluster, OpenLoop(cluster.settings.kafka) as loop:
        await capacity_per_s(loop, OURS, rounds=1)  # the engine's first steps are slower
        capacity = await capacity_per_s(loop, OURS, rounds=5)
        report.figure("capacity_requests_per_s", capacity)
        progress(f"{capacity:.2f} requests/s; now {OVERLOAD:g} times that for {seconds:g} s")
        interactive, bulk = await overload(loop, OURS, OVERLOAD * capacity, seconds)
        add_figures(report, OURS, interactive, bulk, seconds)
        progress(f"{in_time(interactive):.3f} of all in time; now half of the capacity, and bulk beside it")
        beside, filling = await half_load(loop, OURS, capacity, seconds)
    progress("another engine starts, for the same overload straight into its queue")
    async with side_by_side([DIRECT], GROUND) as cluster, OpenLoop(cluster.settings.kafka) as loop:
        await capacity_per_s(loop, DIRECT, rounds=1)
        direct, direct_bulk = await overload(loop, DIRECT, OVERLOAD * capacity, seconds)
        add_figures(report, DIRECT, direct, direct_bulk, seconds)
    rejected = [shot for shot in interactive if shot.outcome == "rejected"]
    admitted = [shot for shot in interactive if shot.outcome != "rejected"]
    quick = [shot.ended_s is not None and shot.ended_s <= TOLD_WITHIN_S for shot in rejected]
    report.at_least("admitted interactive requests within their TTFT target", in_time(admitted), 0.95)
    report.at_least("requests rejected", len(rejected), 1)
    report.at_least("rejected within 100 ms", statistics.fmean(quick) if quick else 0.0, 0.99)
    retries = sum(shot.retry_after_s is not None for shot in rejected)
    report.at_least("rejected with retry_after_s", retries / max(len(rejected), 1), 1.0)
    answered = sum(shot.outcome == "completed" for shot in bulk)
    report.at_least("bulk requests of the overload answered after all", answered / len(bulk), 1.0)
    left = max(0.0, capacity * seconds - answered_meanwhile(beside, seconds))
    report.figure("half_load_interactive_answered_meanwhile", answered_meanwhile(beside, seconds))
    report.figure("half_load_bulk_answered_meanwhile", answered_meanwhile(filling, seconds))
    report.at_least("bulk at half load, of what is left", answered_meanwhile(filling, seconds) / left, FILLED)
    report.at_least("interactive requests in time beside bulk at half load", in_time(beside), 0.95)
    report.at_least("in time over vLLM's own queue", in_time(interactive) / max(in_time(direct), 1e-6), 1.0)
    return report.finish()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the overload (default: 60)")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(bench(parser.parse_args().seconds)))
