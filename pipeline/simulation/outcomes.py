"""What came of requests that were played, as one `Outcome`."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from msgspec import Struct

from pipeline.simulation.llm.traffic import SimRequest
from pipeline.simulation.scenario import Outcome, Scenario


class Run(Struct, kw_only=True, frozen=True):
    """What requests do not tell of their run: mean and largest batch, for how long all engines together were busy, and
    how many requests were over a limit of their tenant.
    """

    batch_mean: float
    batch_max: int
    busy_s: float
    over_limit: int


def outcome_of(policy: str, played: Sequence[SimRequest], scenario: Scenario, run: Run, *, cut: int) -> Outcome:
    """Judged by the SLOs of the scenario's classes.

    Args:
        policy: its name.
        played: with their stories.
        scenario: what was played.
        run: what else is known.
        cut: how many requests were longer than the engine's context.
    """
    end_s = max((request.ended_s or request.at_s for request in played), default=0.0)
    good = [request for request in played if request.keeps(scenario.classes[request.latency_class])]
    turned_away = sum(request.turned_away_s is not None for request in played)
    latencies = [request.ended_s - request.at_s for request in played if request.ended_s is not None]
    hasty = {name for name, rules in scenario.classes.items() if rules.ttft_ms is not None} or scenario.classes
    streamed = [request for request in played if request.latency_class in hasty]
    firsts = [request.first_token_s for request in streamed if request.first_token_s is not None]
    paces = [request.token_s for request in streamed if request.token_s is not None]
    streams = scenario.answers_stream
    gpu_hours = scenario.workers * end_s / 3600
    usd = gpu_hours * scenario.usd_per_gpu_hour
    return Outcome(
        policy=policy,
        requests=len(played),
        goodput_ratio=len(good) / max(len(played), 1),
        goodput_by_class=_shares(played, good, lambda request: request.latency_class),
        goodput_by_tenant=_shares(played, good, lambda request: request.tenant),
        rejected_ratio=turned_away / max(len(played), 1),
        limited_ratio=run.over_limit / max(len(played), 1),
        open_at_end=len(played) - turned_away - len(latencies),
        cut_requests=cut,
        latency_p50_ms=_percentile_ms(latencies, 50),
        latency_p99_ms=_percentile_ms(latencies, 99),
        ttft_p50_ms=_percentile_ms(firsts, 50) if streams else None,
        ttft_p99_ms=_percentile_ms(firsts, 99) if streams else None,
        tpot_p50_ms=_percentile_ms(paces, 50) if streams else None,
        tpot_p99_ms=_percentile_ms(paces, 99) if streams else None,
        cached_ratio=_cached_ratio(played) if streams else None,
        batch_mean=run.batch_mean,
        batch_max=run.batch_max,
        busy_ratio=min(run.busy_s / max(scenario.workers * end_s, 1e-9), 1.0),
        gpu_hours=gpu_hours,
        usd=usd,
        usd_per_1k_good=1000 * usd / len(good) if good else None,
    )


def _shares(
    played: Sequence[SimRequest], good: Sequence[SimRequest], key: Callable[[SimRequest], str]
) -> dict[str, float]:
    offered, answered = Counter(map(key, played)), Counter(map(key, good))
    return {name: answered[name] / count for name, count in sorted(offered.items())}


def _cached_ratio(played: Sequence[SimRequest]) -> float | None:
    if not any(request.blocks for request in played):
        return None
    served = [request for request in played if request.first_s is not None]
    tokens = sum(request.prompt_tokens for request in served)
    return sum(request.cached_tokens for request in served) / max(tokens, 1)


def _percentile_ms(values: Sequence[float], percent: float) -> float:
    return 1000 * float(np.percentile(values, percent)) if values else 0.0
