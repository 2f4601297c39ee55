"""The rows of the trace: one type for each table of the account, with its columns in order.

Append only: a new column goes to the end with a default, so that messages of an older sender stay readable.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from msgspec import Struct

NO_TRACE: Final = bytes(16)


class EventRow(Struct, kw_only=True, frozen=True):
    """Something happened, at `ts` microseconds since the epoch by the clock of `process`.

    `kind` is `<noun>.<past participle>`: request.admitted, request.rejected, request.expired, request.dispatched,
    attempt.started, request.finished, lane.paused, lane.resumed, slot.owned, slot.lost, worker.ready ...
    `trace_flags` are those of the request's `traceparent`, told with request.dispatched.
    """

    ts: int
    kind: str
    component: str
    process: str
    trace_id: bytes = NO_TRACE
    request_id: str = ""
    origin: str = ""
    attempt: str = ""
    tenant: str = ""
    latency_class: str = ""
    model: str = ""
    deployment: str = ""
    worker: str = ""
    batch_id: str = ""
    batch_size: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    duration_us: int = 0
    queue_depth: int = 0
    running: int = 0
    outcome: str = ""
    error_code: str = ""
    reason: str = ""
    detail: str = ""
    trace_flags: int = 0


class RequestRow(Struct, kw_only=True, frozen=True):
    """One attempt of a request, written once by whoever ended it; `final` marks the one that wrote the terminal record.

    `produced_ts` is broker time in microseconds since the epoch. All `*_us` are microseconds after it, 0 for a station
    that was not reached. `gpu_ns` is the attempt's share of the engine's busy time, times the GPUs of the engine.
    `chunks` are the pieces in which the tokens were published; several may have shared a record.
    An attempt that goes on after tokens of others says what it found: how many (`continued`), and when the first and
    the newest of them came; its other fields are its own. All of the answer is in the `answer_*` properties. What is
    said of the texts is what the tenant's rule allows (`topics.texts`), in final rows only.
    `parent_span` and `trace_flags` are the producer's, from its `traceparent`; 0 where it sent none. `endpoint` is what
    was asked for (`topics.bodies.Endpoint`), empty for a request that was turned away before that was known.
    """

    request_id: str
    lane_topic: str
    lane_partition: int
    lane_offset: int
    attempt: str = ""
    final: int = 1
    hop: int = 0
    mode: str = ""
    trace_id: bytes = NO_TRACE
    tenant: str
    latency_class: str
    model: str
    deployment: str = ""
    worker: str = ""
    batch_id: str = ""
    batch_size: int = 0
    produced_ts: int
    admitted_us: int = 0
    batched_us: int = 0
    dispatched_us: int = 0
    started_us: int = 0
    first_us: int = 0
    last_us: int = 0
    finished_us: int = 0
    deadline_us: int = 0
    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_out: int = 0
    chunks: int = 0
    outcome: str
    finish_reason: str = ""
    error_code: str = ""
    reason: str = ""
    gpu_ns: int = 0
    parent_span: int = 0
    trace_flags: int = 0
    endpoint: str = ""
    continued: int = 0
    continued_first_us: int = 0
    continued_last_us: int = 0
    prompt_chars: int = 0
    prompt_hash: int = 0
    answer_chars: int = 0
    answer_hash: int = 0

    @property
    def answer_tokens(self) -> int:
        """Tokens of the answer up to the end of the attempt, whoever generated them."""
        return self.continued + self.tokens_out

    @property
    def answer_first_us(self) -> int:
        """When the answer's first token came."""
        return self.continued_first_us or self.first_us

    @property
    def answer_last_us(self) -> int:
        """When the newest token of the answer came."""
        return self.last_us or self.continued_last_us


class BatchRow(Struct, kw_only=True, frozen=True):
    """One batching decision: what was dispatched together to one worker, and why then and not later or larger."""

    batch_id: str
    formed_ts: int
    model: str
    deployment: str
    latency_class: str
    worker: str
    processor: str
    size: int
    size_limit: int
    tokens_in: int = 0
    wait_max_us: int = 0
    wait_sum_us: int = 0
    queue_depth: int = 0
    reason: str = ""


class StepRow(Struct, kw_only=True, frozen=True):
    """The engine steps of one worker over about a second: sums, and maxima where the name says so."""

    ts: int
    worker: str
    model: str
    deployment: str
    gpus: int
    interval_us: int
    steps: int
    busy_us: int
    prefill_tokens: int
    decode_tokens: int
    running_max: int
    waiting_max: int
    kv_usage_ratio: float = 0.0


class GpuRow(Struct, kw_only=True, frozen=True):
    """What a worker's GPUs were paid for since its row before, in nanoseconds times GPUs by a monotonic clock.

    `paid_ns = loading_ns + busy_ns + idle_ns`. `ts` and `since_ts` bound it by the clock of the worker; `since_ts` is
    the `ts` of the row before, or when the process began. `settled_ns` is the engine time told by `RequestRow`s that
    were written meanwhile: over an orderly run it adds up to `busy_ns`. `state` is the one at the end: loading, ready,
    draining or stopped.
    """

    ts: int
    since_ts: int
    worker: str
    run: str
    model: str
    deployment: str
    gpu: str
    gpus: int
    state: str
    paid_ns: int
    loading_ns: int = 0
    busy_ns: int = 0
    idle_ns: int = 0
    settled_ns: int = 0
    utilization_ratio: float = 0.0
    memory_bytes: int = 0
    power_w: float = 0.0


class FeedbackRow(Struct, kw_only=True, frozen=True):
    """What somebody says about an answer: a `score` (higher is better; NaN for none) or a `label`, by name `signal`.

    The request is known by tenant, model and id; tenant and model are empty where they were not said.
    """

    ts: int
    request_id: str
    signal: str
    score: float = math.nan
    label: str = ""
    source: str = ""
    tenant: str = ""
    model: str = ""


class ScalingRow(Struct, kw_only=True, frozen=True):
    """A decision about how many replicas a deployment has, with what it was made from; told once, by whoever decides.

    `action` is up, down or hold. `ready_ts` is when the wanted replicas took work, in microseconds since the epoch; 0
    where that is not known. `dry_run` is 1 where nothing was done. `detail` is JSON.
    """

    ts: int
    decision_id: str
    scaler: str
    policy: str = ""
    model: str
    deployment: str
    action: str
    reason: str
    replicas_before: int
    replicas_wanted: int
    replicas_after: int
    queue_depth: int = 0
    lag_s: float = 0.0
    arrival_rps: float = 0.0
    forecast_rps: float = 0.0
    capacity_rps: float = 0.0
    busy_ratio: float = 0.0
    kv_usage_ratio: float = 0.0
    wait_p95_ms: float = 0.0
    burn_rate: float = 0.0
    ready_ts: int = 0
    dry_run: int = 0
    detail: str = ""


class RolloutRow(Struct, kw_only=True, frozen=True):
    """A step from one deployment of a model to the next, with the comparison that it rests on; told once, by whoever
    decides: those who follow a decision are many, and read it again whenever they start.

    `action` is start, advance, hold, promote or rollback. Weights are the canary's share of requests, 0 to 1. `p_value`
    is of the test that the step rests on, NaN where there was none. `detail` is JSON.
    """

    ts: int
    decision_id: str
    rollout_id: str
    model: str
    stable: str
    canary: str = ""
    stage: int = 0
    action: str
    reason: str
    weight_before: float = 0.0
    weight_after: float = 0.0
    stable_requests: int = 0
    canary_requests: int = 0
    stable_error_ratio: float = 0.0
    canary_error_ratio: float = 0.0
    stable_ttft_p95_ms: float = 0.0
    canary_ttft_p95_ms: float = 0.0
    p_value: float = math.nan
    detail: str = ""


class TextRow(Struct, kw_only=True, frozen=True):
    """Prompt and answer of a request that has ended, of a tenant that allows to keep them. `ts` is when it came."""

    ts: int
    request_id: str
    lane_topic: str
    lane_partition: int
    lane_offset: int
    attempt: str
    tenant: str
    latency_class: str
    model: str
    deployment: str
    prompt: str
    answer: str


Row = EventRow | RequestRow | BatchRow | StepRow | GpuRow | FeedbackRow | ScalingRow | RolloutRow | TextRow

TABLES: Final[Mapping[str, type[Struct]]] = MappingProxyType(
    {
        "events": EventRow,
        "requests": RequestRow,
        "batches": BatchRow,
        "engine_steps": StepRow,
        "gpu_samples": GpuRow,
        "feedback": FeedbackRow,
        "scaling_decisions": ScalingRow,
        "rollout_decisions": RolloutRow,
        "texts": TextRow,
    }
)
