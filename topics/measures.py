"""The catalogue of measures: numbers about Millrace itself, each with its unit and what to do about it.

Dashboards and alerts are to refer to these names; a name that is not here does not exist. No process exports them yet:
today's numbers are in ClickHouse and in `millrace status`. `s` are seconds. Labels are low in cardinality: never an id.
"""

from dataclasses import dataclass
from typing import Final, Literal

Name = Literal[
    "millrace_requests_total",
    "millrace_request_seconds",
    "millrace_ttft_seconds",
    "millrace_tokens_total",
    "millrace_queue_depth",
    "millrace_lane_lag",
    "millrace_lane_paused",
    "millrace_dispatches_total",
    "millrace_batch_size",
    "millrace_credits",
    "millrace_running",
    "millrace_engine_busy_seconds_total",
    "millrace_takeovers_total",
    "millrace_dead_letters_total",
    "millrace_trace_rows_total",
    "millrace_recorder_lag",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One measure.

    Attributes:
        meaning: what is counted, in one sentence.
        action: what to do when it moves.
    """

    name: Name
    kind: Literal["counter", "gauge", "histogram"]
    unit: Literal["1", "s", "tokens", "rows", "records"]
    labels: tuple[str, ...]
    meaning: str
    action: str


_LANE: Final = ("model", "latency_class")
_WORKER: Final = ("deployment", "worker")

MEASURES: Final[tuple[Measure, ...]] = (
    Measure(
        name="millrace_requests_total",
        kind="counter",
        unit="1",
        labels=(*_LANE, "outcome"),
        meaning="Requests ended, by outcome.",
        action="Many rejected or expired: look at millrace_queue_depth and add replicas. Failed: look at worker logs.",
    ),
    Measure(
        name="millrace_request_seconds",
        kind="histogram",
        unit="s",
        labels=_LANE,
        meaning="Time from the request's record to its terminal record.",
        action="Compare with the class's SLO; ask the `requests` table which station grew.",
    ),
    Measure(
        name="millrace_ttft_seconds",
        kind="histogram",
        unit="s",
        labels=_LANE,
        meaning="Time from the request's record to its first token.",
        action="Grows with the queue: add replicas. Grows without one: look at prefill backlog and the broker.",
    ),
    Measure(
        name="millrace_tokens_total",
        kind="counter",
        unit="tokens",
        labels=("deployment", "direction"),
        meaning="Prompt and completion tokens of ended attempts.",
        action="Falls while running does not: the engine slows down.",
    ),
    Measure(
        name="millrace_queue_depth",
        kind="gauge",
        unit="1",
        labels=_LANE,
        meaning="Admitted requests that wait in the processor.",
        action="At its bound the lane is paused and the rest waits in Kafka: look at millrace_credits.",
    ),
    Measure(
        name="millrace_lane_lag",
        kind="gauge",
        unit="records",
        labels=_LANE,
        meaning="Records of the lane that its processor has not committed yet.",
        action="Grows: arrivals exceed what the workers serve. Scale workers, not processors.",
    ),
    Measure(
        name="millrace_lane_paused",
        kind="gauge",
        unit="1",
        labels=_LANE,
        meaning="1 while the lane's partition is paused because its queue is full.",
        action="Normal for bulk. For interactive: more replicas, or let the class be shed.",
    ),
    Measure(
        name="millrace_dispatches_total",
        kind="counter",
        unit="1",
        labels=("deployment", "reason"),
        meaning="Requests given to workers, by the reason of the decision.",
        action="Reasons tell whether credits, deadlines or arrivals shape the batches.",
    ),
    Measure(
        name="millrace_batch_size",
        kind="histogram",
        unit="1",
        labels=("deployment",),
        meaning="Requests per batching decision.",
        action="Small batches under load: credits are short or arrivals are thin.",
    ),
    Measure(
        name="millrace_credits",
        kind="gauge",
        unit="1",
        labels=_WORKER,
        meaning="Free sequences that the worker advertises, less what was dispatched since.",
        action="0 for long: the worker is full. No value: its heartbeat is stale and it gets no work.",
    ),
    Measure(
        name="millrace_running",
        kind="gauge",
        unit="1",
        labels=_WORKER,
        meaning="Sequences that the engine runs.",
        action="Low beside a full queue: look at the processor's reasons.",
    ),
    Measure(
        name="millrace_engine_busy_seconds_total",
        kind="counter",
        unit="s",
        labels=_WORKER,
        meaning="Time in which the engine worked on at least one sequence.",
        action="Its rate is the utilisation of the replica.",
    ),
    Measure(
        name="millrace_takeovers_total",
        kind="counter",
        unit="1",
        labels=("deployment", "mode"),
        meaning="Attempts that took over from another attempt.",
        action="Frequent: workers die or lose their session; look at their logs and at CPU starvation.",
    ),
    Measure(
        name="millrace_dead_letters_total",
        kind="counter",
        unit="records",
        labels=("stage", "code"),
        meaning="Records sent to inference.dlq.",
        action="Read them with the reason in their headers; fix the sender.",
    ),
    Measure(
        name="millrace_trace_rows_total",
        kind="counter",
        unit="rows",
        labels=("table",),
        meaning="Rows put on inference.trace.",
        action="Stops while requests flow: the trace producer is blocked and will stop its process from acknowledging.",
    ),
    Measure(
        name="millrace_recorder_lag",
        kind="gauge",
        unit="records",
        labels=("partition",),
        meaning="Trace messages that are not in ClickHouse yet.",
        action="Grows: ClickHouse is slow or down; nothing is lost within the topic's retention.",
    ),
)
