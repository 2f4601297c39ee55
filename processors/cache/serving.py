"""A kept answer, told to another sender: its records, and its rows of the account.

The records of an answer are put into one partition without a turn of the event loop in between, so they leave in one
batch, which the broker appends as a whole or not at all.
"""

from processors.account import COMPONENT
from processors.cache.collecting import Kept
from processors.queueing.ticket import Ticket
from topics.answers import response_body
from topics.bodies import decode_body
from topics.headers import parent_span
from topics.names import split_origin
from topics.responses import Completed, Delta, Response, Started
from topics.texts import NOTHING_KEPT, TextColumns, TextRules, prompt_of
from topics.trace_rows import EventRow, RequestRow, Row

SOURCE = "cache"
REASON = "cache_hit"


def served(
    ticket: Ticket,
    kept: Kept,
    *,
    attempt: str,
    model: str,
    process: str,
    now_us: int,
    texts: TextRules = NOTHING_KEPT,
) -> tuple[tuple[Response, ...], tuple[Row, ...]]:
    """The records that answer a request, in order, and what is accounted for it: `texts` allows what of the texts."""
    records = _stream(ticket, kept, attempt, now_us) if ticket.streams else (_whole(ticket, kept, model, now_us),)
    attempt = attempt if ticket.streams else ""
    said = texts.kept(
        ticket.tenant, prompt=lambda: prompt_of(decode_body(ticket.endpoint, ticket.body)), answer=kept.text
    )
    row = _row(ticket, kept, attempt, model=model, now_us=now_us, texts=said.columns)
    event = _event(ticket, kept, attempt, model=model, process=process, now_us=now_us)
    return records, (event, row, *said.rows(row))


def _stream(ticket: Ticket, kept: Kept, attempt: str, now_us: int) -> tuple[Response, ...]:
    started = Started(
        id=ticket.id,
        origin=ticket.origin,
        attempt=attempt,
        mode="fresh",
        hop=ticket.hop,
        dispatch=ticket.at.origin,
        term=0,
        deployment=kept.deployment,
    )
    delta = Delta(
        id=ticket.id,
        origin=ticket.origin,
        attempt=attempt,
        seq=0,
        text=kept.text,
        token_ids=kept.token_ids,
        logprobs=kept.logprobs,
    )
    completed = Completed(
        id=ticket.id,
        origin=ticket.origin,
        attempt=attempt,
        next_seq=len(kept.token_ids),
        usage=kept.usage,
        timing_ms=_timing_ms(ticket, now_us),
        deployment=kept.deployment,
        finish_reason=kept.finish_reason,
        source=SOURCE,
    )
    return (started, delta, completed)


def _whole(ticket: Ticket, kept: Kept, model: str, now_us: int) -> Completed:
    body = response_body(
        endpoint=ticket.endpoint,
        request_id=ticket.id,
        model=model,
        created_s=now_us // 1_000_000,
        text=kept.text,
        logprobs=kept.logprobs,
        finish_reason=kept.finish_reason,
        usage=kept.usage,
    )
    return Completed(
        id=ticket.id,
        origin=ticket.origin,
        usage=kept.usage,
        timing_ms=_timing_ms(ticket, now_us),
        deployment=kept.deployment,
        finish_reason=kept.finish_reason,
        body=body,
        source=SOURCE,
    )


def _event(ticket: Ticket, kept: Kept, attempt: str, *, model: str, process: str, now_us: int) -> EventRow:
    return EventRow(
        ts=now_us,
        kind="request.cache_hit",
        component=COMPONENT,
        process=process,
        trace_id=ticket.trace_id,
        request_id=ticket.id,
        origin=ticket.origin,
        attempt=attempt,
        tenant=ticket.tenant,
        latency_class=ticket.latency_class,
        model=model,
        deployment=kept.deployment,
        tokens_in=kept.usage.prompt_tokens,
        tokens_out=kept.usage.completion_tokens,
        duration_us=_after(ticket, now_us),
        outcome="completed",
        reason=REASON,
    )


def _row(ticket: Ticket, kept: Kept, attempt: str, *, model: str, now_us: int, texts: TextColumns) -> RequestRow:
    topic, partition, offset = split_origin(ticket.origin)
    parent = parent_span(ticket.headers)
    return RequestRow(
        request_id=ticket.id,
        lane_topic=topic,
        lane_partition=partition,
        lane_offset=offset,
        attempt=attempt,
        hop=ticket.hop,
        trace_id=ticket.trace_id,
        tenant=ticket.tenant,
        latency_class=ticket.latency_class,
        model=model,
        deployment=kept.deployment,
        produced_ts=ticket.produced_ms * 1000,
        admitted_us=_after(ticket, now_us),
        first_us=_after(ticket, now_us),
        last_us=_after(ticket, now_us),
        finished_us=_after(ticket, now_us),
        deadline_us=max(0, ticket.deadline_at_ms - ticket.produced_ms) * 1000,
        tokens_in=kept.usage.prompt_tokens,
        tokens_out=kept.usage.completion_tokens,
        outcome="completed",
        finish_reason=kept.finish_reason,
        reason=REASON,
        parent_span=parent[0],
        trace_flags=parent[1],
        endpoint=ticket.endpoint,
        prompt_chars=texts.prompt_chars,
        prompt_hash=texts.prompt_hash,
        answer_chars=texts.answer_chars,
        answer_hash=texts.answer_hash,
    )


def _timing_ms(ticket: Ticket, now_us: int) -> dict[str, float]:
    return {"finished": _after(ticket, now_us) / 1000}


def _after(ticket: Ticket, now_us: int) -> int:
    """Microseconds since the request was produced: at least 1, because the station was reached."""
    return max(1, now_us - ticket.produced_ms * 1000)
