"""Scenarios and traces for tests."""

from typing import Any

from pipeline.simulation.llm.replica import EngineSpec
from pipeline.simulation.scenario import Scenario
from pipeline.simulation.traces import Arrival
from processors.policy import ClassPolicy

PREMIUM = ClassPolicy(priority=0, deadline_ms=60_000, queue_limit=2000, ttft_ms=1000, tpot_ms=50)
NIGHTLY = ClassPolicy(priority=9, deadline_ms=86_400_000, queue_limit=2000, yields=True, e2e_ms=600_000)


def scenario(**changed: Any) -> Scenario:
    """One quiet replica and one class, but for what is changed."""
    engine = EngineSpec(noise=0.0, by_priority=True)
    usual: dict[str, Any] = {
        "workers": 1,
        "engine": engine,
        "classes": {"premium": PREMIUM},
        "mix": {"premium": 1.0},
        "context_tokens": 100_000,
    }
    return Scenario(**{**usual, **changed})


def arrivals(count: int, *, every_s: float, prompt_tokens: int = 400, answer_tokens: int = 100) -> list[Arrival]:
    """Requests that are all alike, at the same distance from each other."""
    return [Arrival(at_s=n * every_s, prompt_tokens=prompt_tokens, answer_tokens=answer_tokens) for n in range(count)]
