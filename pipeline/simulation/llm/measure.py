"""One run, and its figures: goodput, first tokens, times per token, and how those that were turned away were told."""

from collections.abc import Mapping

import numpy as np
from msgspec import Struct

from pipeline.simulation.llm.product import SchedulerPlayer
from pipeline.simulation.llm.replica import EngineSpec
from pipeline.simulation.llm.traffic import CLASSES, SimRequest
from pipeline.simulation.llm.world import Pool, World
from processors.batching.modes import ControllerFactory, controller_for
from processors.policy import ClassPolicy

REPLICAS = 4
STEADY = EngineSpec()


class Figures(Struct, kw_only=True, frozen=True):
    """Of one class in one run. Ratios are of what was offered; times are in milliseconds.

    Attributes:
        goodput: answered within the SLO.
        ttft_p50_ms, ttft_p99_ms: time to first token of those that had one.
        tpot_p50_ms: time per token of those that ended.
        rejected: turned away; `refused` of them, as a share, on arrival.
        reject_p50_ms: until one was turned away.
        hit_ratio: prompt tokens that were cached, of all that were served.
        good_tokens: prompt and answer tokens of those answered within the SLO, per second.
    """

    goodput: float
    ttft_p50_ms: float
    ttft_p99_ms: float
    tpot_p50_ms: float
    rejected: float
    refused: float
    reject_p50_ms: float
    hit_ratio: float
    good_tokens: float


def figures(requests: list[SimRequest], *, duration_s: float, classes: Mapping[str, ClassPolicy] = CLASSES) -> Figures:
    """Figures of requests that have been played, judged by the SLOs of `classes`."""
    firsts = [request.first_token_s for request in requests if request.first_token_s is not None]
    tokens = [request.token_s for request in requests if request.token_s is not None]
    turned = [request for request in requests if request.turned_away_s is not None]
    waits = [request.turned_away_s - request.at_s for request in turned if request.turned_away_s is not None]
    hits = [request for request in requests if request.prefix >= 0 and request.first_s is not None]
    good = [request for request in requests if request.keeps(classes[request.latency_class])]
    return Figures(
        goodput=len(good) / max(1, len(requests)),
        ttft_p50_ms=_percentile_ms(firsts, 50),
        ttft_p99_ms=_percentile_ms(firsts, 99),
        tpot_p50_ms=_percentile_ms(tokens, 50),
        rejected=len(turned) / max(1, len(requests)),
        refused=sum(request.was_refused for request in turned) / max(1, len(turned)),
        reject_p50_ms=_percentile_ms(waits, 50),
        hit_ratio=sum(request.cached_tokens > 0 for request in hits) / max(1, len(hits)),
        good_tokens=sum(request.prompt_tokens + request.answer_tokens for request in good) / duration_s,
    )


def play(
    requests: list[SimRequest],
    *,
    duration_s: float,
    seed: int,
    engine: EngineSpec = STEADY,
    replicas: int = REPLICAS,
    controllers: ControllerFactory = controller_for,
    silence: tuple[float, float] | None = None,
) -> SchedulerPlayer:
    """Run requests through a scheduler; their stories are written into them.

    Args:
        requests: in order of arrival.
        duration_s: when arrivals end.
        seed: of the engines' noise.
        engine: what the replicas are.
        replicas: how many.
        controllers: a way of batching; the product's own unless given.
        silence: when heartbeats are held up.
    """
    pool = Pool(engines=(engine,) * replicas, silence=silence)
    player = SchedulerPlayer(hop_s=pool.hop_s, controllers=controllers, classes=_classes_of(requests))
    World(pool, seed=seed).run(player, requests, duration_s=duration_s)
    return player


def _classes_of(requests: list[SimRequest]) -> dict[str, ClassPolicy]:
    present = {request.latency_class for request in requests}
    return {name: rules for name, rules in CLASSES.items() if name in present}


def _percentile_ms(values: list[float], percent: float) -> float:
    return 1000 * float(np.percentile(values, percent)) if values else 0.0
