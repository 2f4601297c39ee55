"""Builders of what a scheduler is told. Time starts at `T0_S`; the model is `m`, its deployment `m@v1`."""

from typing import Any

import msgspec

from processors.effects import Effect
from processors.events import Address, Arrival, Handback
from processors.policy import ClassPolicy, Identity, Policy
from processors.scheduler import Scheduler
from topics import names
from topics.codec import Malformed
from topics.dispatches import Dispatch, Return
from topics.fleet import Credits, Finished, Heartbeat, Limits, Slot
from topics.requests import Cancellation, Request

T0_S = 1_800_000_000.0
T0_MS = int(T0_S * 1000)
MODEL = "m"
DEPLOYMENT = "m@v1"
SENDER = "run.0.1"
REPLIES = {names.RESPONSES: 8, "inference.responses.acme": 2}


def a_policy(**changes: Any) -> Policy:
    classes = {
        "realtime": ClassPolicy(priority=0, deadline_ms=10_000, queue_limit=100),
        "interactive": ClassPolicy(priority=1, deadline_ms=60_000, queue_limit=100),
        "bulk": ClassPolicy(priority=3, deadline_ms=86_400_000, queue_limit=100),
    }
    defaults = {"model": MODEL, "classes": classes, "stable": DEPLOYMENT, "longest_deadline_ms": 86_400_000}
    return Policy(**{**defaults, **changes})


def a_scheduler(*, limit: int | None = None, **changes: Any) -> Scheduler:
    policy = a_policy(**changes)
    if limit is not None:
        classes = {name: msgspec.structs.replace(rules, queue_limit=limit) for name, rules in policy.classes.items()}
        policy = msgspec.structs.replace(policy, classes=classes)
    return Scheduler(policy, Identity(process="p", sender=SENDER), replies=REPLIES)


def a_body(**fields: Any) -> msgspec.Raw:
    body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 10, **fields}
    return msgspec.Raw(msgspec.json.encode(body))


def a_request(request_id: str | None = None, *, body: msgspec.Raw | None = None, **fields: Any) -> Request:
    return Request(id=request_id, body=body or a_body(), **fields)


def an_arrival(
    offset: int = 0,
    request: Request | Malformed | None = None,
    *,
    latency_class: str = "interactive",
    timestamp_ms: int = T0_MS,
    headers: list[tuple[str, bytes]] | None = None,
) -> Arrival:
    return Arrival(
        at=Address(names.Lane(MODEL, latency_class).topic, 0, offset),
        timestamp_ms=timestamp_ms,
        request=request or a_request(f"r{offset}"),
        headers=headers or [],
    )


def a_heartbeat(
    worker: str = "w1",
    *,
    seq: int = 1,
    free: int = 4,
    kv: int = 100_000,
    slots: tuple[int, ...] = (0,),
    seen: dict[str, int] | None = None,
    **changes: Any,
) -> Heartbeat:
    defaults = {
        "worker": worker,
        "run": "run1",
        "seq": seq,
        "at_ms": T0_MS + seq,
        "model": MODEL,
        "deployment": DEPLOYMENT,
        "engine": "simulated",
        "state": "ready",
        "running": 1,
        "slots": [Slot(partition=slot, term=0, seen=seen or {}) for slot in slots],
        "credits": Credits(free_sequences=free, free_kv_tokens=kv),
        "limits": Limits(max_sequences=32, max_kv_tokens=200_000, max_batch_tokens=2048, max_context_tokens=8192),
    }
    return Heartbeat(**{**defaults, **changes})


def a_finished(origin: str) -> Finished:
    return Finished(
        origin=origin, batch_id="b", prompt_tokens=1, completion_tokens=1, service_us=1, outcome="completed"
    )


def a_cancellation(request_id: str, *, tenant: str = "default", model: str = MODEL) -> Cancellation:
    return Cancellation(id=request_id, model=model, tenant=tenant)


def a_handback(dispatch: Dispatch, *, offset: int = 0) -> Handback:
    record = Return(dispatch=dispatch, dispatched_at_ms=T0_MS + 5, worker="w1", reason="drained")
    return Handback(at=Address(names.returns_topic(MODEL), 0, offset), record=record)


def of_kind(effects: list[Effect], kind: type[Any]) -> list[Any]:
    return [effect for effect in effects if isinstance(effect, kind)]


def admit(scheduler: Scheduler, *offsets: int, latency_class: str = "interactive", **fields: Any) -> list[Effect]:
    """Let requests `r<offset>` arrive at `T0_S`."""
    effects: list[Effect] = []
    for offset in offsets:
        arrival = an_arrival(offset, a_request(f"r{offset}", **fields), latency_class=latency_class)
        effects += scheduler.on_request(arrival, latency_class, now_s=T0_S)
    return effects


def beat(scheduler: Scheduler, worker: str = "w1", *, now_s: float = T0_S, **changes: Any) -> list[Effect]:
    """A fresh heartbeat of a worker."""
    return scheduler.on_heartbeat(a_heartbeat(worker, **changes), at_ms=int(now_s * 1000), now_s=now_s)
