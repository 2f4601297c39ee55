"""Builder of tickets that wait in a queue."""

from typing import Any

import msgspec

from processors.events import Address
from processors.queueing.ticket import Demand, Ticket
from tests.unit.processors.builders import MODEL, T0_MS, a_body
from topics import names
from topics.requests import ReplyTo


def a_ticket(
    request_id: str,
    tenant: str = "a",
    *,
    latency_class: str = "interactive",
    prompt_tokens: int = 100,
    due_at_ms: int = 0,
    deadline_at_ms: int = 1_000_000,
    **changes: Any,
) -> Ticket:
    at = Address(names.Lane(MODEL, latency_class).topic, 0, 0)
    defaults: dict[str, Any] = {
        "at": at,
        "origin": at.origin,
        "endpoint": "/v1/chat/completions",
        "body": msgspec.Raw(a_body()),
        "reply": ReplyTo(topic=names.RESPONSES, partition=0),
        "produced_ms": T0_MS,
        "admitted_us": T0_MS * 1000,
        "priority": 1,
        "demand": Demand(1, prompt_tokens, prompt_tokens + 100),
        "headers": [],
        "trace_id": b"",
    }
    return Ticket(
        id=request_id,
        tenant=tenant,
        latency_class=latency_class,
        due_at_ms=due_at_ms,
        deadline_at_ms=deadline_at_ms,
        **{**defaults, **changes},
    )
