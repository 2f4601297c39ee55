"""The catalogue of measures: numbers about Millrace itself, each with its unit and what to do about it.

Every process serves its own at `/metrics`; dashboards and alerts refer to these names, and a name that is not here does
not exist. `s` are seconds. Labels are low in cardinality: never an id. A worker's name is one, of as many values as
there are workers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

Name = Literal[
    "millrace_requests_total",
    "millrace_request_seconds",
    "millrace_ttft_seconds",
    "millrace_slo_requests_total",
    "millrace_slo_misses_total",
    "millrace_tokens_total",
    "millrace_queue_depth",
    "millrace_lane_lag",
    "millrace_lane_paused",
    "millrace_dispatches_total",
    "millrace_batch_size",
    "millrace_credits",
    "millrace_heartbeat_age_seconds",
    "millrace_latency_model_error_ratio",
    "millrace_latency_model_scale",
    "millrace_running",
    "millrace_engine_busy_seconds_total",
    "millrace_takeovers_total",
    "millrace_dead_letters_total",
    "millrace_trace_rows_total",
    "millrace_trace_given_up_total",
    "millrace_recorder_lag",
    "millrace_recorder_rows_total",
    "millrace_otel_lag",
    "millrace_otel_spans_total",
    "millrace_otel_given_up_total",
]
Process = Literal["processor", "worker", "recorder", "otel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One measure.

    Attributes:
        meaning: what is counted, in one sentence.
        action: what to do when it moves.
        processes: who exports it. Sum it over them.
    """

    name: Name
    kind: Literal["counter", "gauge", "histogram"]
    unit: Literal["1", "s", "tokens", "rows", "records", "spans"]
    labels: tuple[str, ...]
    meaning: str
    action: str
    processes: tuple[Process, ...]


_LANE: Final = ("model", "latency_class")
_WORKER: Final = ("deployment", "worker")
_PROCESSORS: Final[tuple[Process, ...]] = ("processor",)
_WORKERS: Final[tuple[Process, ...]] = ("worker",)
_RECORDERS: Final[tuple[Process, ...]] = ("recorder",)
_EXPORTERS: Final[tuple[Process, ...]] = ("otel",)
_ENDERS: Final[tuple[Process, ...]] = ("processor", "worker")
"""Those that end requests: whoever ends one counts it."""
_SHELVERS: Final[tuple[Process, ...]] = ("processor", "worker", "recorder")
"""Those that put what they cannot process among the dead letters."""

MEASURES: Final[tuple[Measure, ...]] = (
    Measure(
        name="millrace_requests_total",
        kind="counter",
        unit="1",
        labels=(*_LANE, "outcome"),
        meaning="Requests ended, by outcome.",
        action="Many rejected or expired: look at millrace_queue_depth and add replicas. Failed: look at worker logs.",
        processes=_ENDERS,
    ),
    Measure(
        name="millrace_request_seconds",
        kind="histogram",
        unit="s",
        labels=_LANE,
        meaning="Time from the request's record to its terminal record.",
        action="Compare with the class's SLO; ask the `requests` table which station grew.",
        processes=_ENDERS,
    ),
    Measure(
        name="millrace_ttft_seconds",
        kind="histogram",
        unit="s",
        labels=_LANE,
        meaning="Time from the request's record to its first token.",
        action="Grows with the queue: add replicas. Grows without one: look at prefill backlog and the broker.",
        processes=_ENDERS,
    ),
    Measure(
        name="millrace_slo_requests_total",
        kind="counter",
        unit="1",
        labels=_LANE,
        meaning="Ended requests that count for the SLO: all but those that their sender cancelled or got wrong.",
        action="The denominator of the SLO; alerts take its rate.",
        processes=_ENDERS,
    ),
    Measure(
        name="millrace_slo_misses_total",
        kind="counter",
        unit="1",
        labels=_LANE,
        meaning="Of those, the ones that did not complete within the targets of their class.",
        action="Its share is what the error budget is spent on: ask the `requests` table which station grew.",
        processes=_ENDERS,
    ),
    Measure(
        name="millrace_tokens_total",
        kind="counter",
        unit="tokens",
        labels=("deployment", "direction"),
        meaning="Prompt and completion tokens of ended attempts.",
        action="Falls while running does not: the engine slows down.",
        processes=_WORKERS,
    ),
    Measure(
        name="millrace_queue_depth",
        kind="gauge",
        unit="1",
        labels=_LANE,
        meaning="Admitted requests that wait in the processor.",
        action="At its bound the lane is paused and the rest waits in Kafka: look at millrace_credits.",
        processes=_PROCESSORS,
    ),
    Measure(
        name="millrace_lane_lag",
        kind="gauge",
        unit="records",
        labels=_LANE,
        meaning="Records of the lane that its processor has not committed yet.",
        action="Grows: arrivals exceed what the workers serve. Scale workers, not processors.",
        processes=_PROCESSORS,
    ),
    Measure(
        name="millrace_lane_paused",
        kind="gauge",
        unit="1",
        labels=_LANE,
        meaning="1 while the lane's partition is paused because its queue is full.",
        action="Normal for bulk. For interactive: more replicas, or let the class be shed.",
        processes=_PROCESSORS,
    ),
    Measure(
        name="millrace_dispatches_total",
        kind="counter",
        unit="1",
        labels=("deployment", "reason"),
        meaning="Requests given to workers, by the reason of the decision.",
        action="Reasons tell whether credits, deadlines or arrivals shape the batches.",
        processes=_PROCESSORS,
    ),
    Measure(
        name="millrace_batch_size",
        kind="histogram",
        unit="1",
        labels=("deployment",),
        meaning="Requests per batching decision.",
        action="Small batches under load: credits are short or arrivals are thin.",
        processes=_PROCESSORS,
    ),
    Measure(
        name="millrace_credits",
        kind="gauge",
        unit="1",
        labels=_WORKER,
        meaning="Free sequences that the worker advertises, less what was dispatched since.",
        action="0 for long: the worker is full. No value: its heartbeat is stale and it gets no work.",
        processes=_PROCESSORS,
    ),
    Measure(
        name="millrace_heartbeat_age_seconds",
        kind="gauge",
        unit="s",
        labels=_WORKER,
        meaning="Time since the newest heartbeat of a worker that has not said goodbye; forgotten after a minute.",
        action="Above 3 it gets no work: look whether the worker, its machine or its way to the broker is gone.",
        processes=_PROCESSORS,
    ),
    Measure(
        name="millrace_latency_model_error_ratio",
        kind="gauge",
        unit="1",
        labels=("deployment",),
        meaning="How far predictions of a batch or step were off of late: mean of |actual - predicted| / predicted.",
        action="Above 0.3: engines are disturbed by other work on their machines, or differ within the deployment.",
        processes=_PROCESSORS,
    ),
    Measure(
        name="millrace_latency_model_scale",
        kind="gauge",
        unit="1",
        labels=("deployment",),
        meaning="How much slower the engines are of late than they were learned to be; 1 for no difference.",
        action="Above 1.3 for long: look for throttling, heat and neighbours on the workers' machines.",
        processes=_PROCESSORS,
    ),
    Measure(
        name="millrace_running",
        kind="gauge",
        unit="1",
        labels=_WORKER,
        meaning="Sequences that the engine runs.",
        action="Low beside a full queue: look at the processor's reasons.",
        processes=_WORKERS,
    ),
    Measure(
        name="millrace_engine_busy_seconds_total",
        kind="counter",
        unit="s",
        labels=_WORKER,
        meaning="Time in which the engine worked on at least one sequence.",
        action="Its rate is the utilisation of the replica.",
        processes=_WORKERS,
    ),
    Measure(
        name="millrace_takeovers_total",
        kind="counter",
        unit="1",
        labels=("deployment", "mode"),
        meaning="Attempts that took over from another attempt.",
        action="Frequent: workers die or lose their session; look at their logs and at CPU starvation.",
        processes=_WORKERS,
    ),
    Measure(
        name="millrace_dead_letters_total",
        kind="counter",
        unit="records",
        labels=("stage", "code"),
        meaning="Records sent to inference.dlq.",
        action="Read them with the reason in their headers; fix the sender.",
        processes=_SHELVERS,
    ),
    Measure(
        name="millrace_trace_rows_total",
        kind="counter",
        unit="rows",
        labels=("table",),
        meaning="Rows put on inference.trace.",
        action="Stops while requests flow: the trace producer is blocked and will stop its process from acknowledging.",
        processes=_ENDERS,
    ),
    Measure(
        name="millrace_trace_given_up_total",
        kind="counter",
        unit="rows",
        labels=(),
        meaning="Rows that no column or no message can hold. Their requests are answered; the account lacks them.",
        action="A fault of Millrace, or a limit of the topic that is too low: the log names the kind of row.",
        processes=_ENDERS,
    ),
    Measure(
        name="millrace_recorder_lag",
        kind="gauge",
        unit="records",
        labels=("partition",),
        meaning="Trace messages that are not in ClickHouse yet.",
        action="Grows: ClickHouse is slow or down; nothing is lost within the topic's retention.",
        processes=_RECORDERS,
    ),
    Measure(
        name="millrace_recorder_rows_total",
        kind="counter",
        unit="rows",
        labels=(),
        meaning="Rows inserted into ClickHouse.",
        action="Stops while millrace_trace_rows_total grows: ClickHouse is away; look at the recorder's log.",
        processes=_RECORDERS,
    ),
    Measure(
        name="millrace_otel_lag",
        kind="gauge",
        unit="records",
        labels=("partition",),
        meaning="Trace messages whose spans the OTLP receiver does not have yet.",
        action="Grows: the receiver is away or slow. Nothing else waits for it; start more exporters if it is not.",
        processes=_EXPORTERS,
    ),
    Measure(
        name="millrace_otel_spans_total",
        kind="counter",
        unit="spans",
        labels=(),
        meaning="Spans that the OTLP receiver has taken.",
        action="Stops while millrace_trace_rows_total grows: the receiver is away, or sampling keeps nothing.",
        processes=_EXPORTERS,
    ),
    Measure(
        name="millrace_otel_given_up_total",
        kind="counter",
        unit="spans",
        labels=(),
        meaning="Spans that the OTLP receiver refused though it takes others.",
        action="Look at the receiver's log and its limits: these spans are gone, their rows are in ClickHouse.",
        processes=_EXPORTERS,
    ),
)

BUCKETS: Final[Mapping[Name, tuple[float, ...]]] = MappingProxyType(
    {
        "millrace_request_seconds": (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600),
        "millrace_ttft_seconds": (0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 10, 60),
        "millrace_batch_size": (1, 2, 4, 8, 16, 32, 64, 128, 256),
    }
)
"""Upper bounds of the histograms' buckets. SLOs do not go by them: they are counted exactly."""


def measures_of(process: Process) -> tuple[Measure, ...]:
    """What a kind of process exports."""
    return tuple(measure for measure in MEASURES if process in measure.processes)
