"""A request on its way out: where it goes and what is said. Pure."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from pipeline.client.context import active_context
from pipeline.client.timeouts import NO_LIMITS, Limits, Timeouts
from topics.codec import Malformed, decode_request, encode
from topics.errors import InvalidRequest
from topics.headers import TRACEPARENT, Headers
from topics.names import Lane
from topics.requests import Cancellation, ReplyTo, Request

_BESIDE_THE_BODY: Final = frozenset({"id", "deadline_ms", "session"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request, complete but for the address of its answer."""

    lane: Lane
    request: Request
    headers: Headers
    limits: Limits

    @property
    def id(self) -> str:
        """The request's id, given or random."""
        assert self.request.id is not None, "ask_of gives every request an id"
        return self.request.id

    @property
    def cancellation(self) -> Cancellation:
        """What ends it."""
        return Cancellation(id=self.id, model=self.lane.model, tenant=self.request.tenant)

    def value(self, reply: ReplyTo) -> bytes:
        """The record, its answer going to `reply`.

        Raises:
            RequestError: the pipeline would not accept it: a field beside the body is out of its range, or the whole
                is too long.
        """
        value = encode(msgspec.structs.replace(self.request, reply=reply))
        read = decode_request(value)
        if isinstance(read, Malformed):
            raise read.error
        return value


def ask_of(lane: Lane, tenant: str, fields: Mapping[str, Any], timeouts: Timeouts | None) -> Ask:
    """The request that a caller describes.

    Args:
        lane: where it goes.
        tenant: in whose name.
        fields: `id`, `deadline_ms`, `session` and `traceparent`, where given; all others are fields of the body. A span
            that is active where this is called is the parent where no `traceparent` is given.
        timeouts: how long to wait; None for no limit.

    Raises:
        InvalidRequest: a field is not JSON, or `traceparent` is not ASCII.
    """
    given = dict(fields)
    traceparent = given.pop("traceparent", None)
    envelope = {name: given.pop(name) for name in _BESIDE_THE_BODY & given.keys()}
    if envelope.get("id") is None:
        envelope["id"] = uuid.uuid4().hex
    try:
        body = msgspec.Raw(msgspec.json.encode(given))
        headers = active_context() if traceparent is None else [(TRACEPARENT, traceparent.encode("ascii"))]
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRequest(f"request cannot be written as JSON and headers: {error}") from error
    return Ask(
        lane=lane,
        request=Request(tenant=tenant, body=body, **envelope),
        headers=headers,
        limits=NO_LIMITS if timeouts is None else timeouts.limits(envelope.get("deadline_ms")),
    )
