"""The loads of the live batching benchmark: engines and targets of a modelled H100 stretched, arrivals, goodness.

Run to completion: `5 ms + 0.8 ms * size`, 64 at most, targets of 60 ms, 200 ms and 2 s; continuous: about Llama-3-8B.
Both are as in the simulations (`pipeline.simulation`), and all times are `STRETCH` times as long.
"""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from pipeline.simulation.arrivals import poisson
from pipeline.simulation.llm.replica import EngineSpec
from pipeline.simulation.llm.traffic import requests
from pipeline.simulation.rtc.engine import Engine
from tests.bench.open_loop import Shot
from tests.bench.side_by_side import STRETCH, WORKERS, Ground

SLO_S: Final = {"realtime": 0.060 * STRETCH, "interactive": 0.200 * STRETCH, "standard": 2.0 * STRETCH}
SHARES: Final = (0.2, 0.3, 0.5)
TTFT_S: Final = 1.0 * STRETCH
TOKEN_S: Final = 0.050 * STRETCH
FULL_PER_S: Final = 114 / STRETCH
"""What four replicas serve of the continuous mix: load 1."""
HOP_MS: Final = 2.0 * STRETCH
BROKER_HOP_MS: Final = 6.0
"""What a hop through the broker takes here beside everything else; the rest of a stretched hop is distance."""
PATIENCE_MS: Final = 3_600_000
"""Deadlines are beyond the end of every run: what ends a request is its target, or the way of batching."""

_BATCHES: Final = Engine()
_STEPS: Final = EngineSpec()
MAX_PER_S: Final = WORKERS * _BATCHES.capacity_per_s() / STRETCH
"""What four workers answer in their largest batches, whatever their latency: load 1, 228 requests per second."""

BATCHES: Final = Ground(
    engine={
        "engine": "simulated",
        "mode": "run_to_completion",
        "fixed_us": 1e6 * STRETCH * _BATCHES.base_s,
        "per_sequence_us": 1e6 * STRETCH * _BATCHES.each_s,
        "per_prefill_token_us": 0.0,
        "max_sequences": _BATCHES.max_size,
        "noise_sigma": _BATCHES.sigma,
        "straggler_ratio": _BATCHES.straggler_share,
        "batch_wait_s": 0.5,
    },
    classes={
        name: {"priority": priority, "deadline_ms": PATIENCE_MS, "e2e_ms": round(1000 * slo_s)}
        for priority, (name, slo_s) in enumerate(SLO_S.items())
    },
    hop_ms=HOP_MS,
    distance_ms=HOP_MS - BROKER_HOP_MS,
)
STEPS: Final = Ground(
    engine={
        "engine": "simulated",
        "fixed_us": 1e6 * STRETCH * _STEPS.fixed_s,
        "per_sequence_us": 1e6 * STRETCH * _STEPS.sequence_s,
        "per_kv_token_us": 1e6 * STRETCH * _STEPS.kv_token_s,
        "per_prefill_token_us": 1e6 * STRETCH * _STEPS.prompt_token_s,
        "max_sequences": _STEPS.sequences,
        "max_batch_tokens": _STEPS.step_tokens,
        "max_kv_tokens": _STEPS.kv_tokens,
        "max_context_tokens": 16_384,
        "noise_sigma": _STEPS.noise,
    },
    classes={
        "interactive": {
            "priority": 1,
            "deadline_ms": PATIENCE_MS,
            "ttft_ms": round(1000 * TTFT_S),
            "tpot_ms": round(1000 * TOKEN_S),
        }
    },
)


def whole(model: str, load: float, seconds: float, *, seed: int, classes: Sequence[str] = ("realtime",)) -> list[Shot]:
    """Requests that are answered whole, at `load` times `MAX_PER_S`; several classes have the shares of `SHARES`."""
    rng = np.random.default_rng(seed)
    times = poisson(rng, load * MAX_PER_S, seconds)
    drawn = rng.choice(len(classes), size=len(times), p=SHARES) if len(classes) > 1 else [0] * len(times)
    return [
        Shot(at_s=float(at_s), model=model, latency_class=classes[index])
        for at_s, index in zip(times, drawn, strict=True)
    ]


def streamed(model: str, load: float, seconds: float, *, seed: int) -> list[Shot]:
    """Requests that are answered token by token, at `load` times `FULL_PER_S`."""
    return [
        Shot(
            at_s=request.at_s,
            model=model,
            latency_class="interactive",
            prompt_tokens=request.prompt_tokens,
            answer_tokens=request.answer_tokens,
            streams=True,
        )
        for request in requests("poisson", load * FULL_PER_S, seconds, seed)
    ]


def is_good(shot: Shot) -> bool:
    """Answered within the target of its class. A stream that still runs counts by what has come of it."""
    if shot.streams:
        is_alive = shot.outcome in ("", "completed")
        return is_alive and shot.first_s is not None and shot.first_s <= TTFT_S and shot.token_s <= TOKEN_S
    return shot.outcome == "completed" and shot.ended_s is not None and shot.ended_s <= SLO_S[shot.latency_class]


def goodput(shots: Iterable[Shot]) -> float:
    """Share of the requests that were good."""
    return statistics.fmean(map(is_good, shots))


def figures(shots: list[Shot]) -> dict[str, Any]:
    """Of some requests, by name with unit."""
    answered = [shot.first_s if shot.streams else shot.ended_s for shot in shots if shot.outcome in ("", "completed")]
    turned = [shot for shot in shots if shot.outcome in ("rejected", "expired")]
    waits = [shot.ended_s for shot in turned if shot.ended_s is not None]
    return {
        "offered": len(shots),
        "goodput": goodput(shots),
        "p50_s": _quantile([each for each in answered if each is not None], 0.5),
        "p99_s": _quantile([each for each in answered if each is not None], 0.99),
        "turned_away": len(turned) / len(shots),
        "turned_away_p50_s": _quantile(waits, 0.5),
        "told_when_to_retry": sum(shot.retry_after_s is not None for shot in turned) / max(len(turned), 1),
        "unanswered": sum(shot.outcome == "" for shot in shots) / len(shots),
        "failed": sum(shot.outcome in ("failed", "cancelled") for shot in shots),
    }


def _quantile(values: list[float], q: float) -> float:
    return float(np.quantile(values, q)) if values else 0.0
