"""The account's row of a request that a former owner has answered itself. Pure.

Its own row may have died with it: a request is acknowledged only after its trace, so every answered request that is not
committed is written again. Rows of one request and attempt count once.
"""

from processors.admission.validation import addressee_of
from processors.events import Address
from topics.codec import decode_request, decode_return
from topics.continued import before
from topics.dispatches import Told
from topics.headers import Headers, parent_span, trace_context, trace_id
from topics.names import model_of_origin, split_origin
from topics.responses import Completed, TerminalRecord, outcome_of
from topics.trace_rows import RequestRow


def row_of_request(
    terminal: TerminalRecord,
    latency_class: str,
    *,
    at: Address,
    timestamp_ms: int,
    value: bytes | None,
    headers: Headers,
) -> RequestRow:
    """The row of a request of a lane, whose record this is.

    Raises:
        CodecError: it is none.
    """
    tenant = addressee_of(at, decode_request(value or b""), {}).tenant
    return _row(terminal, tenant, latency_class, produced_ms=timestamp_ms, hop=0, headers=headers)


def row_of_return(terminal: TerminalRecord, value: bytes | None, headers: Headers) -> RequestRow:
    """The row of a request that was handed back, in a record of the returns topic.

    Raises:
        CodecError: it is none.
    """
    dispatch = decode_return(value or b"").dispatch
    produced_ms = dispatch.stations.produced_at_us // 1000
    return _row(
        terminal,
        dispatch.tenant,
        dispatch.latency_class,
        produced_ms=produced_ms,
        hop=dispatch.hop + 1,
        headers=headers,
        endpoint=dispatch.endpoint,
        told=dispatch.told,
    )


def _row(
    terminal: TerminalRecord,
    tenant: str,
    latency_class: str,
    *,
    produced_ms: int,
    hop: int,
    headers: Headers,
    endpoint: str = "",
    told: Told | None = None,
) -> RequestRow:
    topic, partition, offset = split_origin(terminal.origin)
    parent, flags = parent_span(trace_context(headers))
    usage, earlier = terminal.usage, before(told, produced_us=produced_ms * 1000)
    return RequestRow(
        request_id=terminal.id,
        lane_topic=topic,
        lane_partition=partition,
        lane_offset=offset,
        attempt=terminal.attempt or "",
        hop=hop,
        trace_id=trace_id(headers),
        tenant=tenant,
        latency_class=latency_class,
        model=model_of_origin(terminal.origin),
        deployment=terminal.deployment or "",
        produced_ts=produced_ms * 1000,
        finished_us=round(1000 * terminal.timing_ms.get("finished", 0.0)),
        tokens_in=usage.prompt_tokens if usage else 0,
        tokens_out=max(usage.completion_tokens - earlier.tokens, 0) if usage else 0,
        outcome=outcome_of(terminal),
        finish_reason=terminal.finish_reason if isinstance(terminal, Completed) else "",
        error_code=terminal.error.code if terminal.error else "",
        parent_span=parent,
        trace_flags=flags,
        endpoint=endpoint,
        continued=earlier.tokens,
        continued_first_us=earlier.first_us,
        continued_last_us=earlier.last_us,
    )
