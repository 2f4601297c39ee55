"""How a modelled pool looks to the product: its policy, and the heartbeats of its workers."""

import math
from typing import Final

import numpy as np

from pipeline.simulation.rtc.engine import Engine
from pipeline.simulation.rtc.world import Told, Traffic
from processors.policy import ClassPolicy, Policy
from topics.fleet import BatchTiming, Credits, Heartbeat, Limits, Slot

START_S: Final = 1_000.0
"""Broker time at which traffic begins."""
MODEL: Final = "simulated"
DEPLOYMENT: Final = "simulated@v1"
QUEUE_LIMIT: Final = 1_000_000
_PATIENCE: Final = 5
"""A request expires after so many times its SLO: the controller is the one to drop it."""
_WARM_UP_SEED: Final = 5
_WARM_UP_SIGMA: Final = 0.05
_MANY_TOKENS: Final = 1_000_000_000


def policy_for(traffic: Traffic, *, hop_s: float, shards: int = 1) -> Policy:
    """The classes of the traffic, the most urgent first, each with its SLO as an end-to-end target."""
    classes = {
        name: ClassPolicy(
            priority=priority,
            deadline_ms=_PATIENCE * round(1000 * slo_s),
            queue_limit=QUEUE_LIMIT,
            e2e_ms=round(1000 * slo_s),
        )
        for priority, (name, slo_s) in enumerate(traffic.slo_s.items())
    }
    longest_ms = max(rules.deadline_ms for rules in classes.values())
    return Policy(
        model=MODEL, classes=classes, stable=DEPLOYMENT, longest_deadline_ms=longest_ms, hop_s=hop_s, shards=shards
    )


def warm_up(engine: Engine, traffic: Traffic) -> list[BatchTiming]:
    """What a worker timed while its engine started: four sizes, once each, with noise of 5 %."""
    rng = np.random.default_rng(_WARM_UP_SEED)
    each = sum(traffic.tokens) / max(1, len(traffic.tokens))
    timings = []
    for size in sorted({1, 4, 16, engine.max_size}):
        seconds = engine.mean_s(size, size * each) * math.exp(rng.normal(0, _WARM_UP_SIGMA))
        timings.append(BatchTiming(size=size, tokens=int(size * each), service_us=int(1e6 * seconds)))
    return timings


def heartbeat_of(told: Told, engine: Engine, traffic: Traffic, *, seq: int, seen: dict[str, int]) -> Heartbeat:
    """The heartbeat that a real worker would have written. Worker `i` owns slot `i`."""
    held = told.running + told.waiting
    batches = [
        BatchTiming(
            id=sent.name,
            size=len(sent.requests),
            tokens=sum(traffic.tokens[index] for index in sent.requests),
            service_us=int(1e6 * sent.service_s),
        )
        for sent in told.ended
    ]
    return Heartbeat(
        worker=f"w{told.worker}",
        run="1",
        seq=seq,
        at_ms=int(1000 * (START_S + told.at_s)),
        model=MODEL,
        deployment=DEPLOYMENT,
        engine="simulated",
        state="ready",
        running=told.running,
        waiting=told.waiting,
        slots=[Slot(partition=told.worker, term=0, seen=seen)],
        credits=Credits(free_sequences=max(0, engine.max_size - held), free_kv_tokens=_MANY_TOKENS),
        limits=Limits(
            max_sequences=engine.max_size,
            max_kv_tokens=_MANY_TOKENS,
            max_batch_tokens=engine.max_tokens,
            max_context_tokens=_MANY_TOKENS,
        ),
        mode="run_to_completion",
        batches=batches,
    )
