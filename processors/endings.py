"""Terminal records that a processor writes, for requests that end before a worker ends them. Pure."""

from collections.abc import Callable
from typing import Final, Literal

from processors.account import Ending
from processors.admission.validation import Refusal
from processors.batching.controller import NO_REASON, Refused, Why
from processors.effects import Answer
from processors.events import Arrival
from processors.queueing.ticket import Ticket
from topics.errors import Cancelled, DeadlineExceeded, DeadlineUnmeetable, PipelineError
from topics.headers import parent_span, trace_context, trace_id
from topics.responses import CancelledRequest, ErrorBody, Expired, Rejected, Started

Outcome = Literal["expired", "cancelled"]

_TERMINALS: Final[dict[Outcome, type[Expired] | type[CancelledRequest]]] = {
    "expired": Expired,
    "cancelled": CancelledRequest,
}


def reject(
    arrival: Arrival, refusal: Refusal, latency_class: str, *, now_us: int, why: Why = NO_REASON
) -> tuple[Answer, Ending]:
    """End a request that was not queued."""
    origin = arrival.at.origin
    record = Rejected(
        id=refusal.id,
        origin=origin,
        timing_ms=_timing(now_us, arrival.timestamp_ms),
        error=ErrorBody.of(refusal.error),
    )
    ending = Ending(
        origin=origin,
        id=refusal.id,
        tenant=refusal.tenant,
        latency_class=latency_class,
        outcome="rejected",
        error_code=refusal.error.code,
        produced_ms=arrival.timestamp_ms,
        trace_id=trace_id(arrival.headers),
        why=why,
        parent=parent_span(arrival.headers),
    )
    headers = trace_context(arrival.headers)
    return Answer(records=(record,), reply=refusal.reply, headers=headers, settles=arrival.at), ending


def too_late(ticket: Ticket, refused: Refused) -> DeadlineUnmeetable:
    """Why a request is turned away that the prediction says would miss its target."""
    return DeadlineUnmeetable(
        f"its target of {ticket.due_at_ms - ticket.produced_ms} ms cannot be met at present ({refused.why.reason}); "
        f"try again in {refused.retry_after_s:.1f} s, or name a longer deadline_ms",
        param="deadline_ms",
        retry_after_s=refused.retry_after_s,
    )


def end(
    ticket: Ticket, outcome: Outcome, *, now_us: int, new_attempt: Callable[[], str], why: Why = NO_REASON
) -> tuple[Answer, Ending]:
    """End a request that waited."""
    error = _error(ticket, outcome, why)
    attempt = new_attempt() if ticket.hop else None
    terminal = _TERMINALS[outcome](
        id=ticket.id,
        origin=ticket.origin,
        attempt=attempt,
        usage=ticket.usage,
        timing_ms=_timing(now_us, ticket.produced_ms),
        error=ErrorBody.of(error),
    )
    records = (terminal,) if attempt is None else (_take_over(ticket, attempt), terminal)
    ending = Ending(
        origin=ticket.origin,
        id=ticket.id,
        tenant=ticket.tenant,
        latency_class=ticket.latency_class,
        outcome=outcome,
        error_code=error.code,
        produced_ms=ticket.produced_ms,
        trace_id=ticket.trace_id,
        attempt=attempt or "",
        hop=ticket.hop,
        admitted_us=ticket.admitted_us,
        deadline_us=max(0, ticket.deadline_at_ms - ticket.produced_ms) * 1000,
        tokens_in=ticket.demand.prompt_tokens,
        why=why,
        parent=parent_span(ticket.headers),
        endpoint=ticket.endpoint,
        told=ticket.told,
        used_tokens=ticket.usage.total_tokens if ticket.usage is not None else 0,
    )
    return Answer(records=records, reply=ticket.reply, headers=ticket.headers, settles=ticket.at), ending


def _take_over(ticket: Ticket, attempt: str) -> Started:
    """Becomes the current attempt of a request that a worker may have begun, so that the terminal record counts.

    `restart`, because only a reader of the response log knows how many tokens there are; its terminal carries none.
    """
    return Started(
        id=ticket.id,
        origin=ticket.origin,
        attempt=attempt,
        mode="restart",
        hop=ticket.hop,
        dispatch=ticket.at.origin,
        term=0,
        deployment="",
    )


def _error(ticket: Ticket, outcome: Outcome, why: Why) -> PipelineError:
    if outcome == "cancelled":
        return Cancelled("cancelled by its sender before a worker had it")
    if why is not NO_REASON:
        due_ms = ticket.due_at_ms - ticket.produced_ms
        return DeadlineExceeded(
            f"could not be answered within its target of {due_ms} ms any more ({why.reason}); "
            "name a deadline_ms to wait longer, or try again when there is less load",
            param="deadline_ms",
        )
    allowed_ms = ticket.deadline_at_ms - ticket.produced_ms
    return DeadlineExceeded(
        f"waited for a worker until its deadline of {allowed_ms} ms had passed; "
        "ask for a longer deadline_ms or try again when there is less load",
        param="deadline_ms",
    )


def _timing(now_us: int, produced_ms: int) -> dict[str, float]:
    return {"finished": max(0.0, now_us / 1000 - produced_ms)}
