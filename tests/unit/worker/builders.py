"""Values for tests of the worker."""

from typing import Any

import msgspec

from topics.bodies import CHAT
from topics.dispatches import BatchPart, Dispatch, Stations
from topics.requests import ReplyTo
from topics.responses import Usage


def a_body(*, stream: bool = True, max_tokens: int = 16, content: str = "Hello", **fields: Any) -> msgspec.Raw:
    """A chat body as bytes."""
    messages = [{"role": "user", "content": content}]
    body = {"messages": messages, "stream": stream, "max_tokens": max_tokens, "ignore_eos": True, **fields}
    return msgspec.Raw(msgspec.json.encode(body))


def a_dispatch(*, body: msgspec.Raw | None = None, produced_at_us: int = 1_000_000, **changes: Any) -> Dispatch:
    """A dispatch of hop 0 that streams 16 tokens."""
    fields: dict[str, Any] = {
        "id": "order-42",
        "tenant": "acme",
        "model": "m",
        "latency_class": "interactive",
        "deployment": "m@v1",
        "endpoint": CHAT,
        "origin": "inference.requests.m.interactive/0/7",
        "reply": ReplyTo(topic="inference.responses", partition=0),
        "deadline_at_ms": 1_000_000,
        "priority": 1,
        "sender": "p1",
        "seq": 1,
        "batch": BatchPart(id="b1", index=0, size=1),
        "stations": Stations(produced_at_us=produced_at_us, admitted_at_us=produced_at_us + 1000),
        "reason": "credit",
    }
    return Dispatch(**{**fields, "body": body if body is not None else a_body(), **changes})


def a_usage(prompt: int = 3, completion: int = 2) -> Usage:
    """Usage of an attempt."""
    return Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)
