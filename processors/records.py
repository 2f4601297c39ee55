"""Decisions as dispatch records: what a worker finds in its slot. Pure."""

from processors.batching.controller import Batch
from processors.policy import Identity, Policy
from topics.dispatches import BatchPart, Dispatch, Stations


class Records:
    """Makes the dispatch records of one scheduler."""

    def __init__(self, policy: Policy, identity: Identity) -> None:
        self._model = policy.model
        self._sender = identity.sender

    def of(self, batch: Batch, index: int, *, batch_id: str, backlog: int, now_us: int) -> Dispatch:
        """The record of one part of a batch. `backlog` counts what its tenant still has waiting in the lane."""
        part = batch.parts[index]
        ticket = part.ticket
        return Dispatch(
            id=ticket.id,
            tenant=ticket.tenant,
            model=self._model,
            latency_class=ticket.latency_class,
            deployment=batch.worker.heartbeat.deployment,
            endpoint=ticket.endpoint,
            body=ticket.body,
            origin=ticket.origin,
            reply=ticket.reply,
            deadline_at_ms=ticket.deadline_at_ms,
            due_at_ms=ticket.due_at_ms,
            priority=ticket.priority,
            hop=ticket.hop,
            first_dispatched_at_ms=ticket.first_dispatched_at_ms,
            sender=self._sender,
            seq=part.placed.seq,
            batch=BatchPart(id=batch_id, index=index, size=len(batch.parts)),
            stations=Stations(
                produced_at_us=ticket.produced_ms * 1000,
                admitted_at_us=ticket.admitted_us,
                batched_at_us=now_us,
                dispatched_at_us=now_us,
            ),
            reason=part.why.reason,
            backlog=backlog,
            yields=ticket.demand.yields,
            sequence_limit=part.sequence_limit,
            told=ticket.told,
        )
