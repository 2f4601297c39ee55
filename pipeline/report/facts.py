"""What the queries `report_*` answer, as records: one per row, fields named as their columns.

`bucket` counts from 0 in steps of the span. A float that says nothing is NaN.
"""

from dataclasses import dataclass

from msgspec import Struct

Percentiles = tuple[float, float, float]
"""50, 95, 99."""


class Fact(Struct, kw_only=True, frozen=True):
    """A row."""


class Totals(Fact, kw_only=True, frozen=True):
    """`report_totals`."""

    requests: int
    completed: int
    rejected: int
    expired: int
    cancelled: int
    failed: int
    tokens_prompt: int
    tokens_reused: int
    tokens_made: int


class Latency(Fact, kw_only=True, frozen=True):
    """`report_latency`."""

    model: str
    latency_class: str
    bucket: int
    requests: int
    first_token_ms: Percentiles
    whole_ms: Percentiles


class Throughput(Fact, kw_only=True, frozen=True):
    """`report_throughput`."""

    model: str
    latency_class: str
    outcome: str
    bucket: int
    requests: int
    tokens_prompt: int
    tokens_made: int


class ClassFact(Fact, kw_only=True, frozen=True):
    """`report_classes`. Targets are 0 where there is none; `attainment` is a ratio."""

    model: str
    latency_class: str
    requests: int
    completed: int
    first_token_ms: Percentiles
    tpot_p95_ms: float
    whole_ms: Percentiles
    target_ttft_ms: float
    target_tpot_ms: float
    target_e2e_ms: float
    objective: float
    attainment: float


class Tenant(Fact, kw_only=True, frozen=True):
    """`report_tenants`."""

    tenant: str
    requests: int
    tokens_prompt: int
    tokens_reused: int
    tokens_made: int
    useful_ns: int
    wasted_ns: int
    useful_usd: float
    wasted_usd: float
    unpriced_ns: int


class Version(Fact, kw_only=True, frozen=True):
    """`report_versions`. `attempts`, `resumed` and `used_ns` are of attempts, the rest of requests that ended there."""

    deployment: str
    attempts: int
    requests: int
    completed: int
    failed: int
    resumed: int
    ttft_p95_ms: float
    tpot_p50_ms: float
    tokens_made: int
    used_ns: int


class Refusal(Fact, kw_only=True, frozen=True):
    """`report_refusals`."""

    model: str
    latency_class: str
    outcome: str
    error_code: str
    reason: str
    requests: int
    tenants: int


class Slow(Fact, kw_only=True, frozen=True):
    """`report_slowest`."""

    request_id: str
    tenant: str
    model: str
    latency_class: str
    worker: str
    whole_ms: float
    first_token_ms: float
    tokens_made: int
    slow_before: str
    slow_ms: float


class BatchSize(Fact, kw_only=True, frozen=True):
    """`report_batch_sizes`."""

    size: int
    batches: int
    requests: int


class BatchReason(Fact, kw_only=True, frozen=True):
    """`report_batch_reasons`."""

    reason: str
    batches: int
    requests: int


class Queue(Fact, kw_only=True, frozen=True):
    """`report_queues`."""

    model: str
    bucket: int
    deepest: int
    wait_p95_ms: float
    mean_size: float


class Engines(Fact, kw_only=True, frozen=True):
    """`report_engines`."""

    bucket: int
    workers: int
    reported_ns: int
    busy_ns: int
    mean_running: float
    most_running: int
    most_waiting: int


class GpuTime(Fact, kw_only=True, frozen=True):
    """`report_gpu_time`, in nanoseconds times GPUs."""

    bucket: int
    busy: int
    idle: int
    loading: int
    unobserved: int


class Start(Fact, kw_only=True, frozen=True):
    """`reconcile_gpu_time`: a whole start of a worker, nanoseconds times GPUs. `ended`: stopped, crashed, running."""

    worker: str
    run: str
    ended: str
    attempts: int
    all_paid_ns: int
    attributed_ns: int
    idle_ns: int
    loading_ns: int
    in_flight_ns: int
    unobserved_ns: int
    difference_ns: int
    missing_us: int
    holds: bool


class LaneEnds(Fact, kw_only=True, frozen=True):
    """`report_ends`."""

    lane_topic: str
    lane_partition: int
    first_offset: int
    last_offset: int
    produced: int
    ended: int
    final_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything a report is made of."""

    totals: Totals
    latencies: list[Latency]
    throughput: list[Throughput]
    classes: list[ClassFact]
    tenants: list[Tenant]
    versions: list[Version]
    refusals: list[Refusal]
    slowest: list[Slow]
    batch_sizes: list[BatchSize]
    batch_reasons: list[BatchReason]
    queues: list[Queue]
    engines: list[Engines]
    gpu_time: list[GpuTime]
    starts: list[Start]
    ends: list[LaneEnds]
