"""Work that a worker hands back, as a ticket again: it was admitted once and is not judged anew. Pure.

It keeps its deadline and when it was due, so that it goes before what came after it: whatever was parked, drained or
detached has waited once.
"""

from processors.admission.estimates import demand_of
from processors.dedupe.fingerprint import fingerprint_of, is_deterministic
from processors.events import Handback
from processors.policy import Policy
from processors.queueing.ticket import Ticket
from topics.bodies import decode_body
from topics.headers import trace_context, trace_id
from topics.prefixes import prefix_hashes


def returned(handback: Handback, policy: Policy) -> Ticket:
    """The ticket of the next hop; a class that is gone is the least urgent one.

    Raises:
        InvalidRequest: the body is none that was ever dispatched.
    """
    record = handback.record
    dispatch = record.dispatch
    known = dispatch.latency_class in policy.classes
    latency_class = dispatch.latency_class if known else policy.by_priority()[-1]
    rules = policy.classes[latency_class]
    produced_ms = dispatch.stations.produced_at_us // 1000
    body = decode_body(dispatch.endpoint, dispatch.body)
    return Ticket(
        at=handback.at,
        origin=dispatch.origin,
        id=dispatch.id,
        tenant=dispatch.tenant,
        latency_class=latency_class,
        endpoint=dispatch.endpoint,
        body=dispatch.body,
        reply=dispatch.reply,
        produced_ms=produced_ms,
        admitted_us=dispatch.stations.admitted_at_us,
        deadline_at_ms=dispatch.deadline_at_ms,
        due_at_ms=dispatch.due_at_ms or min(produced_ms + rules.target_ms, dispatch.deadline_at_ms),
        priority=dispatch.priority,
        demand=demand_of(body, yields=rules.yields),
        headers=trace_context(handback.headers),
        trace_id=trace_id(handback.headers),
        hop=dispatch.hop + 1,
        first_dispatched_at_ms=dispatch.first_dispatched_at_ms or record.dispatched_at_ms,
        prefixes=prefix_hashes(body),
        fingerprint=fingerprint_of(body, is_shared=is_deterministic(body)),
        is_deterministic=is_deterministic(body),
        streams=body.stream,
        usage=record.usage,
        told=dispatch.told,
    )
