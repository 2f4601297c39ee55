"""What the scheduler writes into the trace: rows, made from decisions. Pure; the shell ships them."""

from typing import Final

from msgspec import Struct

from processors.batching.controller import NO_REASON, Batch, Deferral, Part, Why
from processors.policy import Identity, Policy
from processors.queueing.ticket import Ticket
from topics.continued import before
from topics.dispatches import Told
from topics.headers import parent_span
from topics.names import split_origin
from topics.trace_rows import BatchRow, EventRow, RequestRow

COMPONENT: Final = "processor"
MIXED: Final = "mixed"
"""`latency_class` of a batch that was filled across classes."""


class Ending(Struct, kw_only=True, frozen=True):
    """A request that ends in the processor, admitted or not.

    `parent` is the producer's span and its flags (`topics.headers.parent_span`). `used_tokens`, of prompt and answer,
    are those of workers that handed it back, `told` is what they have told of its answer.
    """

    origin: str
    id: str
    tenant: str
    latency_class: str
    outcome: str
    error_code: str
    produced_ms: int
    trace_id: bytes
    attempt: str = ""
    hop: int = 0
    admitted_us: int = 0
    deadline_us: int = 0
    tokens_in: int = 0
    why: Why = NO_REASON
    parent: tuple[int, int] = (0, 0)
    endpoint: str = ""
    used_tokens: int = 0
    told: Told | None = None


class Account:
    """Makes the rows of one scheduler."""

    def __init__(self, policy: Policy, identity: Identity) -> None:
        self._model = policy.model
        self._process = identity.process
        self._told: tuple[Why, str] = (NO_REASON, "")

    def admitted(self, ticket: Ticket, *, now_us: int, queue_depth: int) -> EventRow:
        """A request was queued. `queue_depth` counts its lane, with it."""
        return EventRow(
            ts=now_us,
            kind="request.admitted",
            component=COMPONENT,
            process=self._process,
            trace_id=ticket.trace_id,
            request_id=ticket.id,
            origin=ticket.origin,
            tenant=ticket.tenant,
            latency_class=ticket.latency_class,
            model=self._model,
            tokens_in=ticket.demand.prompt_tokens,
            duration_us=_after(now_us, ticket.produced_ms),
            queue_depth=queue_depth,
        )

    def dispatched(self, part: Part, batch: Batch, batch_id: str, *, now_us: int) -> EventRow:
        """A request was put into a slot of the batch's worker. `duration_us` is how long it had been admitted."""
        ticket, heartbeat = part.ticket, batch.worker.heartbeat
        return EventRow(
            ts=now_us,
            kind="request.dispatched",
            component=COMPONENT,
            process=self._process,
            trace_id=ticket.trace_id,
            request_id=ticket.id,
            origin=ticket.origin,
            tenant=ticket.tenant,
            latency_class=ticket.latency_class,
            model=self._model,
            deployment=heartbeat.deployment,
            worker=batch.worker.name,
            batch_id=batch_id,
            batch_size=len(batch.parts),
            tokens_in=ticket.demand.prompt_tokens,
            duration_us=max(0, now_us - ticket.admitted_us),
            running=heartbeat.running,
            reason=part.why.reason,
            detail=self._detail(part.why),
            trace_flags=parent_span(ticket.headers)[1],
        )

    def batch(self, batch: Batch, batch_id: str, *, now_us: int, queue_depth: int) -> BatchRow:
        """A batch was formed. `queue_depth` is what still waits after it."""
        tickets = [part.ticket for part in batch.parts]
        waits = [max(0, now_us - ticket.admitted_us) for ticket in tickets]
        classes = {ticket.latency_class for ticket in tickets}
        return BatchRow(
            batch_id=batch_id,
            formed_ts=now_us,
            model=self._model,
            deployment=batch.worker.heartbeat.deployment,
            latency_class=classes.pop() if len(classes) == 1 else MIXED,
            worker=batch.worker.name,
            processor=self._process,
            size=len(tickets),
            size_limit=batch.size_limit,
            tokens_in=sum(ticket.demand.prompt_tokens for ticket in tickets),
            wait_max_us=max(waits),
            wait_sum_us=sum(waits),
            queue_depth=queue_depth,
            reason=batch.why.reason,
        )

    def deferred(self, deferral: Deferral, *, now_us: int) -> EventRow:
        """Requests wait; `reason` says for what."""
        return EventRow(
            ts=now_us,
            kind="lane.deferred",
            component=COMPONENT,
            process=self._process,
            model=self._model,
            queue_depth=deferral.queued,
            reason=deferral.why.reason,
            detail=deferral.why.detail,
        )

    def ended(self, ending: Ending, *, now_us: int) -> tuple[EventRow, RequestRow]:
        """A request ended here: the event, and the one row that says everything about it."""
        return self._ending_event(ending, now_us), self._ending_row(ending, now_us)

    def lane(self, latency_class: str, *, is_paused: bool, now_us: int, queue_depth: int) -> EventRow:
        """A lane was paused or resumed."""
        return EventRow(
            ts=now_us,
            kind="lane.paused" if is_paused else "lane.resumed",
            component=COMPONENT,
            process=self._process,
            latency_class=latency_class,
            model=self._model,
            queue_depth=queue_depth,
        )

    def _detail(self, why: Why) -> str:
        """The figures behind a decision; all parts of a batch may have been given the same."""
        if why is not self._told[0]:
            self._told = (why, why.detail)
        return self._told[1]

    def _ending_event(self, ending: Ending, now_us: int) -> EventRow:
        return EventRow(
            ts=now_us,
            kind=f"request.{ending.outcome}",
            component=COMPONENT,
            process=self._process,
            trace_id=ending.trace_id,
            request_id=ending.id,
            origin=ending.origin,
            attempt=ending.attempt,
            tenant=ending.tenant,
            latency_class=ending.latency_class,
            model=self._model,
            tokens_in=ending.tokens_in,
            duration_us=_after(now_us, ending.produced_ms),
            outcome=ending.outcome,
            error_code=ending.error_code,
            reason=ending.why.reason,
            detail=ending.why.detail,
        )

    def _ending_row(self, ending: Ending, now_us: int) -> RequestRow:
        topic, partition, offset = split_origin(ending.origin)
        earlier = before(ending.told, produced_us=ending.produced_ms * 1000)
        return RequestRow(
            request_id=ending.id,
            lane_topic=topic,
            lane_partition=partition,
            lane_offset=offset,
            attempt=ending.attempt,
            hop=ending.hop,
            trace_id=ending.trace_id,
            tenant=ending.tenant,
            latency_class=ending.latency_class,
            model=self._model,
            produced_ts=ending.produced_ms * 1000,
            admitted_us=_after(ending.admitted_us, ending.produced_ms) if ending.admitted_us else 0,
            finished_us=_after(now_us, ending.produced_ms),
            deadline_us=ending.deadline_us,
            tokens_in=ending.tokens_in,
            outcome=ending.outcome,
            error_code=ending.error_code,
            reason=ending.why.reason,
            parent_span=ending.parent[0],
            trace_flags=ending.parent[1],
            endpoint=ending.endpoint,
            continued=earlier.tokens,
            continued_first_us=earlier.first_us,
            continued_last_us=earlier.last_us,
        )


def _after(now_us: int, produced_ms: int) -> int:
    """Microseconds since the request was produced; never negative, though the two clocks may differ."""
    return max(0, now_us - produced_ms * 1000)
