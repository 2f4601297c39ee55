"""What if: what is played, and what came of it. Values only."""

from collections.abc import Mapping

from msgspec import Struct

from pipeline.simulation.llm.replica import EngineSpec
from pipeline.simulation.rtc.engine import Engine
from processors.policy import ClassPolicy, TenantPolicy


class Scenario(Struct, kw_only=True, frozen=True):
    """What is played.

    Attributes:
        workers: replicas.
        engine: what each of them is; it says which way of batching is simulated.
        classes: the lanes, with their SLOs.
        mix: share of the requests that each class gets, drawn by `seed`.
        tenants: weights and limits of those that are configured.
        hop_s: one way through the broker.
        context_tokens: most that prompt and answer of a request may be together.
        speed: the trace's time passes this many times as fast: 2 is twice the load.
        seconds: how much of the trace is played, in its own time; None for all.
        usd_per_gpu_hour: what a replica costs.
    """

    workers: int
    engine: EngineSpec | Engine
    classes: Mapping[str, ClassPolicy]
    mix: Mapping[str, float]
    tenants: Mapping[str, TenantPolicy] = {}
    hop_s: float = 0.005
    context_tokens: int
    speed: float = 1.0
    seconds: float | None = None
    usd_per_gpu_hour: float = 2.10
    seed: int = 0

    @property
    def answers_stream(self) -> bool:
        """Whether answers come token by token: else they come whole, at the end of their batch."""
        return isinstance(self.engine, EngineSpec)


class Outcome(Struct, kw_only=True, frozen=True):
    """What became of the requests under one way of batching. Ratios are of all requests.

    Attributes:
        goodput_ratio: answered within the SLO.
        rejected_ratio: turned away, on arrival or later.
        limited_ratio: turned away because their tenant was at a limit of its own.
        open_at_end: had no answer when the time for the longest target was over; they are not good.
        cut_requests: were longer than the engine's context, and were played as long as that.
        latency_p50_ms, latency_p99_ms: until the whole answer had come, of those that were answered.
        ttft_p50_ms, ttft_p99_ms, tpot_p50_ms, tpot_p99_ms: to the first token, and per token after it, of the classes
            with such a target if there are any; None where answers come whole.
        cached_ratio: prompt tokens that were found in the prefix cache, of all that were served; None where the trace
            does not tell what prompts share.
        batch_mean: sequences that a busy engine decoded at once, weighted with time; or requests in a batch.
        busy_ratio: of the replicas' time.
        gpu_hours: of all replicas from the first arrival to the last end.
    """

    policy: str
    requests: int
    goodput_ratio: float
    goodput_by_class: dict[str, float]
    goodput_by_tenant: dict[str, float]
    rejected_ratio: float
    limited_ratio: float
    open_at_end: int
    cut_requests: int
    latency_p50_ms: float
    latency_p99_ms: float
    ttft_p50_ms: float | None
    ttft_p99_ms: float | None
    tpot_p50_ms: float | None
    tpot_p99_ms: float | None
    cached_ratio: float | None
    batch_mean: float
    batch_max: int
    busy_ratio: float
    gpu_hours: float
    usd: float
    usd_per_1k_good: float | None
