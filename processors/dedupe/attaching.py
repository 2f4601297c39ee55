"""What is written for a request that gets the answer of another one: its dispatch, and the event of its joining."""

from processors.account import COMPONENT
from processors.dedupe.runs import Run
from processors.policy import Identity
from processors.queueing.ticket import Ticket
from topics.dispatches import BatchPart, Dispatch, Primary, Stations
from topics.trace_rows import EventRow

ALONE = BatchPart(id="", index=0, size=1)
UNNUMBERED = 0
"""`seq` of a dispatch that takes no room of its worker."""


def attached(ticket: Ticket, run: Run, *, deployment: str, model: str, identity: Identity, now_us: int) -> Dispatch:
    """The dispatch of a request that is told the answer of a run's primary."""
    return Dispatch(
        id=ticket.id,
        tenant=ticket.tenant,
        model=model,
        latency_class=ticket.latency_class,
        deployment=deployment,
        endpoint=ticket.endpoint,
        body=ticket.body,
        origin=ticket.origin,
        reply=ticket.reply,
        deadline_at_ms=ticket.deadline_at_ms,
        due_at_ms=ticket.due_at_ms,
        priority=ticket.priority,
        hop=ticket.hop,
        first_dispatched_at_ms=ticket.first_dispatched_at_ms,
        sender=identity.sender,
        seq=UNNUMBERED,
        batch=ALONE,
        stations=Stations(
            produced_at_us=ticket.produced_ms * 1000, admitted_at_us=ticket.admitted_us, dispatched_at_us=now_us
        ),
        reason=reason_of(ticket, run),
        primary=Primary(id=run.id, origin=run.origin, reply=run.reply, since_ms=run.since_ms),
        told=ticket.told,
    )


def reason_of(ticket: Ticket, run: Run) -> str:
    """Why a request gets the answer of a run: the same id again, or the same question of somebody else."""
    return "attached" if ticket.key == run.key else "coalesced"


def joined(ticket: Ticket, run: Run, *, model: str, identity: Identity, now_us: int) -> EventRow:
    """`request.attached` or `request.coalesced`. `detail` is the origin of the primary."""
    reason = reason_of(ticket, run)
    return EventRow(
        ts=now_us,
        kind=f"request.{reason}",
        component=COMPONENT,
        process=identity.process,
        trace_id=ticket.trace_id,
        request_id=ticket.id,
        origin=ticket.origin,
        tenant=ticket.tenant,
        latency_class=ticket.latency_class,
        model=model,
        deployment=run.deployment,
        tokens_in=ticket.demand.prompt_tokens,
        duration_us=max(0, now_us - ticket.produced_ms * 1000),
        reason=reason,
        detail=run.origin,
    )
