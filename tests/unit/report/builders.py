"""Facts of a small account for tests of pages."""

import math
from typing import Any

from pipeline.report import facts
from pipeline.report.story import Attempt, Event

HOUR_S = 1_795_003_200
"""A full hour."""
NOTHING = (math.nan, math.nan, math.nan)


def some_facts(**fields: Any) -> facts.Facts:
    """Two lanes, one tenant with a name to escape, one start of a worker."""
    lane = {"model": "tiny", "latency_class": "interactive"}
    return facts.Facts(
        **{
            "totals": facts.Totals(
                requests=10,
                completed=8,
                rejected=1,
                expired=1,
                cancelled=0,
                failed=0,
                tokens_prompt=1000,
                tokens_reused=10,
                tokens_made=400,
            ),
            "latencies": [
                facts.Latency(bucket=0, requests=4, first_token_ms=(10, 20, 30), whole_ms=(100, 200, 300), **lane),
                facts.Latency(bucket=2, requests=4, first_token_ms=(20, 40, 60), whole_ms=(200, 300, 400), **lane),
                facts.Latency(
                    model="embed",
                    latency_class="bulk",
                    bucket=1,
                    requests=1,
                    first_token_ms=NOTHING,
                    whole_ms=(5, 6, 7),
                ),
            ],
            "throughput": [
                facts.Throughput(outcome="completed", bucket=0, requests=8, tokens_prompt=900, tokens_made=400, **lane),
                facts.Throughput(outcome="rejected", bucket=1, requests=1, tokens_prompt=100, tokens_made=0, **lane),
            ],
            "classes": [a_class()],
            "tenants": [a_tenant()],
            "versions": [
                facts.Version(
                    deployment="tiny@v1",
                    attempts=9,
                    requests=8,
                    completed=8,
                    failed=0,
                    resumed=1,
                    ttft_p95_ms=20,
                    tpot_p50_ms=4,
                    tokens_made=400,
                    used_ns=2_000_000_000,
                )
            ],
            "refusals": [
                facts.Refusal(outcome="rejected", error_code="queue_full", reason="full", requests=1, tenants=1, **lane)
            ],
            "slowest": [
                facts.Slow(
                    request_id="<script>alert(1)</script>",
                    tenant="a&b",
                    worker="w",
                    whole_ms=300,
                    first_token_ms=30,
                    tokens_made=50,
                    slow_before="last token",
                    slow_ms=200,
                    **lane,
                )
            ],
            "batch_sizes": [
                facts.BatchSize(size=1, batches=4, requests=4),
                facts.BatchSize(size=4, batches=1, requests=4),
            ],
            "batch_reasons": [facts.BatchReason(reason="credit", batches=5, requests=8)],
            "queues": [facts.Queue(model="tiny", bucket=0, deepest=3, wait_p95_ms=12, mean_size=1.6)],
            "engines": [
                facts.Engines(
                    bucket=0, workers=1, reported_ns=10, busy_ns=5, mean_running=1.5, most_running=4, most_waiting=0
                )
            ],
            "gpu_time": [facts.GpuTime(bucket=0, busy=30, idle=50, loading=10, unobserved=10)],
            "starts": [a_start()],
            "ends": [a_lane()],
            **fields,
        }
    )


def a_class(**fields: Any) -> facts.ClassFact:
    return facts.ClassFact(
        **{
            "model": "tiny",
            "latency_class": "interactive",
            "requests": 10,
            "completed": 8,
            "first_token_ms": (10, 20, 30),
            "tpot_p95_ms": 5,
            "whole_ms": (100, 200, 300),
            "target_ttft_ms": 25,
            "target_tpot_ms": 0,
            "target_e2e_ms": 60_000,
            "objective": 0.9,
            "attainment": 0.8,
            **fields,
        }
    )


def a_tenant(**fields: Any) -> facts.Tenant:
    return facts.Tenant(
        **{
            "tenant": "<acme & sons>",
            "requests": 10,
            "tokens_prompt": 1000,
            "tokens_reused": 10,
            "tokens_made": 400,
            "useful_ns": 1_500_000_000,
            "wasted_ns": 500_000_000,
            "useful_usd": 0.3,
            "wasted_usd": 0.1,
            "unpriced_ns": 0,
            **fields,
        }
    )


def a_start(**fields: Any) -> facts.Start:
    return facts.Start(
        **{
            "worker": "w",
            "run": "w-run1",
            "ended": "stopped",
            "attempts": 9,
            "all_paid_ns": 100,
            "attributed_ns": 30,
            "idle_ns": 50,
            "loading_ns": 10,
            "in_flight_ns": 0,
            "unobserved_ns": 10,
            "difference_ns": 0,
            "missing_us": 0,
            "holds": True,
            **fields,
        }
    )


def a_lane(**fields: Any) -> facts.LaneEnds:
    return facts.LaneEnds(
        **{
            "lane_topic": "inference.requests.tiny.interactive",
            "lane_partition": 0,
            "first_offset": 5,
            "last_offset": 14,
            "produced": 10,
            "ended": 10,
            "final_rows": 10,
            **fields,
        }
    )


def an_attempt(**fields: Any) -> Attempt:
    """An attempt that reached every station: 1, 2, 3, 4, 10, 50 and 51 ms after its record."""
    return Attempt(
        **{
            "lane_topic": "inference.requests.tiny.interactive",
            "lane_partition": 0,
            "lane_offset": 5,
            "tenant": "acme",
            "model": "tiny",
            "latency_class": "interactive",
            "produced_us": HOUR_S * 1_000_000,
            "attempt": "a1",
            "hop": 0,
            "mode": "fresh",
            "deployment": "tiny@v1",
            "worker": "w1",
            "batch_id": "b1",
            "batch_size": 1,
            "admitted_us": 1_000,
            "batched_us": 2_000,
            "dispatched_us": 3_000,
            "started_us": 4_000,
            "first_us": 10_000,
            "last_us": 50_000,
            "finished_us": 51_000,
            "deadline_us": 30_000_000,
            "tokens_in": 10,
            "tokens_cached": 0,
            "tokens_out": 5,
            "outcome": "completed",
            "finish_reason": "stop",
            "error_code": "",
            "reason": "",
            "gpu_ns": 1_000,
            "is_accepted": True,
            **fields,
        }
    )


def an_event(kind: str, after_us: int, **fields: Any) -> Event:
    return Event(
        **{
            "at_us": HOUR_S * 1_000_000 + after_us,
            "kind": kind,
            "component": "worker",
            "process": "p",
            "worker": "w0",
            "origin": an_attempt().origin,
            "attempt": "",
            "batch_size": 0,
            "tokens_out": 0,
            "queue_depth": 0,
            "outcome": "",
            "error_code": "",
            "reason": "",
            "detail": "",
            **fields,
        }
    )
