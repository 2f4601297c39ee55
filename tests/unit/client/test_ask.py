"""A request on its way out."""

import json
import math
from typing import Any

import pytest

from pipeline.client.ask import Ask, ask_of
from pipeline.client.timeouts import NO_LIMITS, Limits, Timeouts
from topics.errors import BodyTooLarge, InvalidDeadline, InvalidRequest
from topics.names import Lane
from topics.requests import Cancellation, ReplyTo

LANE = Lane("m", "interactive")
REPLY = ReplyTo(topic="inference.responses", partition=3)


def _ask(timeouts: Timeouts | None = None, **fields: Any) -> Ask:
    return ask_of(LANE, "acme", fields, timeouts)


def _value(**fields: Any) -> dict[str, Any]:
    return dict(json.loads(_ask(**fields).value(REPLY)))


def test_fields_beside_the_body_and_in_it() -> None:
    value = _value(id="a", deadline_ms=5, session="s", prompt="x", max_tokens=3, logit_bias={"7": 1.5})
    assert value == {
        "id": "a",
        "tenant": "acme",
        "deadline_ms": 5,
        "session": "s",
        "reply": {"topic": "inference.responses", "partition": 3},
        "body": {"prompt": "x", "max_tokens": 3, "logit_bias": {"7": 1.5}},
        "v": 1,
    }


def test_ids_are_random_unless_given() -> None:
    assert _ask(prompt="x").id != _ask(prompt="x").id
    assert _ask(prompt="x", id="a").id == "a"


def test_the_trace_context_is_a_header() -> None:
    ask = _ask(prompt="x", traceparent="00-a-b-01")
    assert ask.headers == [("traceparent", b"00-a-b-01")]
    assert "traceparent" not in json.loads(bytes(ask.request.body))


def test_a_cancellation_has_the_requests_identity() -> None:
    assert _ask(prompt="x", id="a").cancellation == Cancellation(id="a", model="m", tenant="acme")


def test_what_the_pipeline_would_refuse_is_refused_here() -> None:
    with pytest.raises(InvalidDeadline):
        _value(prompt="x", deadline_ms=-1)
    with pytest.raises(InvalidRequest):
        _value(prompt="x", id="x" * 300)
    with pytest.raises(BodyTooLarge):
        _value(prompt="x" * 1_100_000)


@pytest.mark.parametrize("fields", [{"prompt": object()}, {"prompt": "x", "traceparent": "ü"}])
def test_what_cannot_be_written_is_told(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="cannot be written"):
        _ask(**fields)


def test_a_request_without_timeouts_is_waited_for_without_limit() -> None:
    assert _ask(prompt="x").limits == NO_LIMITS


@pytest.mark.parametrize(
    ("timeouts", "deadline_ms", "limits"),
    [
        (Timeouts(), None, Limits(first_token_s=600, idle_s=60, total_s=math.inf)),
        (Timeouts(), 30_000, Limits(first_token_s=60, idle_s=60, total_s=60)),
        (Timeouts(first_token_s=5, total_s=7), 30_000, Limits(first_token_s=5, idle_s=60, total_s=7)),
        (Timeouts(first_token_s=math.inf, idle_s=1), None, Limits(first_token_s=math.inf, idle_s=1, total_s=math.inf)),
    ],
)
def test_limits_follow_the_deadline_unless_given(timeouts: Timeouts, deadline_ms: int | None, limits: Limits) -> None:
    assert _ask(timeouts, prompt="x", deadline_ms=deadline_ms).limits == limits
