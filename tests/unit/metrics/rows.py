"""Rows to count."""

from typing import Any

from topics.trace_rows import BatchRow, EventRow, RequestRow, StepRow

ORIGIN = "inference.requests.m.interactive/0/7"


def a_request(**changes: Any) -> RequestRow:
    """A completed request of 3 tokens: first after 0.2 s, last after 0.24 s, finished after 0.25 s."""
    fields: dict[str, Any] = {
        "request_id": "r",
        "lane_topic": "inference.requests.m.interactive",
        "lane_partition": 0,
        "lane_offset": 7,
        "attempt": "k3f9",
        "tenant": "acme",
        "latency_class": "interactive",
        "model": "m",
        "deployment": "m@v1",
        "worker": "w1",
        "batch_id": "b1",
        "batch_size": 1,
        "produced_ts": 10**15,
        "admitted_us": 10_000,
        "batched_us": 20_000,
        "dispatched_us": 20_000,
        "started_us": 30_000,
        "first_us": 200_000,
        "last_us": 240_000,
        "finished_us": 250_000,
        "tokens_in": 5,
        "tokens_out": 3,
        "outcome": "completed",
        "finish_reason": "stop",
        "endpoint": "/v1/chat/completions",
    }
    return RequestRow(**{**fields, **changes})


def a_rejection(**changes: Any) -> RequestRow:
    """A request that a processor turned away."""
    never = dict.fromkeys(("batched_us", "dispatched_us", "started_us", "first_us", "last_us", "tokens_out"), 0)
    gone = {"attempt": "", "deployment": "", "worker": "", "batch_id": "", "batch_size": 0, "finish_reason": ""}
    return a_request(**{**never, **gone, "outcome": "rejected", "error_code": "queue_full", **changes})


def an_event(kind: str, **changes: Any) -> EventRow:
    """Something that happened to a request."""
    fields: dict[str, Any] = {"ts": 10**15, "component": "processor", "process": "p", "origin": ORIGIN}
    return EventRow(kind=kind, **{**fields, **changes})


def a_batch(**changes: Any) -> BatchRow:
    """A batch of two that waited for up to 50 ms."""
    fields: dict[str, Any] = {
        "batch_id": "b1",
        "formed_ts": 10**15 + 50_000,
        "model": "m",
        "deployment": "m@v1",
        "latency_class": "interactive",
        "worker": "w1",
        "processor": "p",
        "size": 2,
        "size_limit": 8,
        "wait_max_us": 50_000,
    }
    return BatchRow(**{**fields, **changes})


def a_second_of_steps(**changes: Any) -> StepRow:
    """A second in which the engine was busy for 0.9 s."""
    fields: dict[str, Any] = {
        "ts": 10**15,
        "worker": "w1",
        "model": "m",
        "deployment": "m@v1",
        "gpus": 1,
        "interval_us": 1_000_000,
        "steps": 40,
        "busy_us": 900_000,
        "prefill_tokens": 1,
        "decode_tokens": 2,
        "running_max": 3,
        "waiting_max": 0,
    }
    return StepRow(**{**fields, **changes})
