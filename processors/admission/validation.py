"""May a request be queued? A ticket for it, or why not and where to say so.

Whatever can be checked without a model is checked here, once; the worker checks what needs the tokenizer.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from processors.admission.estimates import demand_of
from processors.dedupe.fingerprint import fingerprint_of, is_deterministic
from processors.events import Address, Arrival
from processors.policy import ClassPolicy, Policy
from processors.queueing.ticket import Ticket
from topics import names
from topics.bodies import decode_body, endpoint_of
from topics.codec import Malformed
from topics.errors import InvalidDeadline, InvalidReply, ModelNotFound, PipelineError, RequestError
from topics.headers import trace_context, trace_id
from topics.prefixes import prefix_hashes
from topics.requests import DEFAULT_TENANT, Id, ReplyTo, Request, Salvage, Tenant

Partitions = Mapping[str, int]
"""Response topics that exist, and how many partitions each has."""


class Refusal(Struct, kw_only=True, frozen=True):
    """A request that is turned away: why, and where its sender listens as far as that can be known."""

    error: PipelineError
    id: str
    tenant: str
    reply: ReplyTo


class Addressee(NamedTuple):
    """Under which id a request goes, whose it is, and where its sender listens."""

    id: str
    tenant: str
    reply: ReplyTo


def addressee_of(at: Address, request: Request | Malformed, replies: Partitions) -> Addressee:
    """Who is to be told about the request at an address, as far as that can be known."""
    if isinstance(request, Malformed):
        salvage: Salvage = request.value
        request_id = _readable(salvage.id, Id) or names.default_id(*at)
        tenant = _readable(salvage.tenant, Tenant) or DEFAULT_TENANT
        reply = _readable(salvage.reply, ReplyTo)
    else:
        request_id, tenant, reply = request.id or names.default_id(*at), request.tenant, request.reply
    return Addressee(request_id, tenant, _usable(reply, replies) or _default_reply(request_id, replies))


def admit(
    arrival: Arrival, latency_class: str, *, policy: Policy, deployment: str | None, replies: Partitions, now_us: int
) -> Ticket | Refusal:
    """A ticket for the request, or its refusal."""
    request = arrival.request
    if isinstance(request, Malformed):
        return _refuse_malformed(arrival, request, replies)
    request_id = request.id or names.default_id(*arrival.at)
    try:
        if deployment is None:
            raise ModelNotFound(f"model {policy.model!r} has no deployment that takes requests", param="model")
        return _ticket(arrival, request, request_id, latency_class, policy, replies, now_us)
    except RequestError as error:
        told = addressee_of(arrival.at, request, replies)
        return Refusal(error=error, id=told.id, tenant=told.tenant, reply=told.reply)


def _ticket(
    arrival: Arrival,
    request: Request,
    request_id: str,
    latency_class: str,
    policy: Policy,
    replies: Partitions,
    now_us: int,
) -> Ticket:
    reply = _checked_reply(request.reply, replies) if request.reply else _default_reply(request_id, replies)
    endpoint = request.endpoint or endpoint_of(request.body)
    body = decode_body(endpoint, request.body)
    rules = policy.classes[latency_class]
    repeatable = is_deterministic(body)
    deadline_at_ms = arrival.timestamp_ms + _deadline_ms(request, rules.deadline_ms, policy.longest_deadline_ms)
    return Ticket(
        at=arrival.at,
        origin=arrival.at.origin,
        id=request_id,
        tenant=request.tenant,
        latency_class=latency_class,
        endpoint=endpoint,
        body=request.body,
        reply=reply,
        produced_ms=arrival.timestamp_ms,
        admitted_us=now_us,
        deadline_at_ms=deadline_at_ms,
        due_at_ms=_due_at_ms(arrival, request, rules, deadline_at_ms),
        priority=rules.priority,
        demand=demand_of(body, yields=rules.yields),
        headers=trace_context(arrival.headers) if arrival.headers else [],
        trace_id=trace_id(arrival.headers),
        prefixes=prefix_hashes(body),
        may_be_shed=not rules.yields,
        fingerprint=fingerprint_of(body, is_shared=repeatable) if repeatable or request.id is not None else b"",
        is_deterministic=repeatable,
        streams=body.stream,
    )


def _due_at_ms(arrival: Arrival, request: Request, rules: ClassPolicy, deadline_at_ms: int) -> int:
    """The class's target, or the request's own deadline: who names one would rather wait for it than be turned away."""
    if request.deadline_ms is not None:
        return deadline_at_ms
    return min(arrival.timestamp_ms + rules.target_ms, deadline_at_ms)


def _deadline_ms(request: Request, default_ms: int, longest_ms: int) -> int:
    if request.deadline_ms is None:
        return default_ms
    if request.deadline_ms > longest_ms:
        raise InvalidDeadline(
            f"deadline_ms is {request.deadline_ms}, this cluster keeps requests for at most {longest_ms}; ask for less",
            param="deadline_ms",
        )
    return request.deadline_ms


def _checked_reply(reply: ReplyTo, replies: Partitions) -> ReplyTo:
    if not names.is_responses_topic(reply.topic):
        raise InvalidReply(
            f"reply.topic {reply.topic!r} is not allowed; use {names.RESPONSES} or {names.RESPONSES}.<name>",
            param="reply.topic",
        )
    partitions = replies.get(reply.topic)
    if partitions is None:
        raise InvalidReply(
            f"reply.topic {reply.topic!r} does not exist; there are: {', '.join(sorted(replies))}", param="reply.topic"
        )
    if reply.partition >= partitions:
        raise InvalidReply(
            f"reply.partition is {reply.partition}, {reply.topic} has partitions 0 to {partitions - 1}",
            param="reply.partition",
        )
    return reply


def _usable(reply: ReplyTo | None, replies: Partitions) -> ReplyTo | None:
    return reply if reply is not None and 0 <= reply.partition < replies.get(reply.topic, 0) else None


def _default_reply(request_id: str, replies: Partitions) -> ReplyTo:
    partition = names.reply_partition(request_id, replies.get(names.RESPONSES, 1))
    return ReplyTo(topic=names.RESPONSES, partition=partition)


def _refuse_malformed(arrival: Arrival, malformed: Malformed, replies: Partitions) -> Refusal:
    told = addressee_of(arrival.at, malformed, replies)
    return Refusal(error=malformed.error, id=told.id, tenant=told.tenant, reply=told.reply)


def _readable(value: object, kind: Any) -> Any:
    """`value` as `kind`, or None: what can be read of a broken request is used, the rest is not missed."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return None
