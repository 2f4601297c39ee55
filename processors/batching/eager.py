"""Release as many as there is credit for, at once: what is done before a worker has said how its engine batches.

Nothing waits while a worker has room, and nothing is committed to a worker before it has. Batches are filled across the
classes of the model, in order of priority and deadline. The first request that fits nowhere stops the release: letting
smaller ones pass would starve it.
"""

from typing import Final

from processors.batching.controller import Batch, Decision, Deferral, LaneView, Part, Refused, Why
from processors.batching.deferrals import NO_WORKER, Deferrals
from processors.queueing.queues import Queues
from processors.queueing.ticket import Demand, Ticket
from processors.routing.fleet import Fleet, Worker
from topics.fleet import Finished, ModelFigures

_UNKNOWN: Final = LaneView(arrivals_per_s=0.0, size_limit=0, saturation=0.0, model_error_ratio=0.0)


class Eager:
    """`processors.batching.controller.Controller` that predicts nothing and therefore refuses and drops nothing."""

    def __init__(self, queues: Queues, fleet: Fleet) -> None:
        self._queues = queues
        self._fleet = fleet
        self._deferrals = Deferrals()

    def refuse(self, ticket: Ticket, *, now_s: float) -> Refused | None:
        return None

    def on_queued(self, ticket: Ticket, *, now_s: float) -> None:
        return

    def on_returned(self, ticket: Ticket) -> None:
        return

    def on_worker(self, worker: Worker, *, now_s: float) -> None:
        return

    def on_finished(self, finished: Finished, *, tenant: str, latency_class: str) -> None:
        return

    def decide(self, *, deployment: str, now_s: float) -> Decision:
        """Take requests out of the queues and place them, until queues or credits are exhausted."""
        batches: dict[str, Batch] = {}
        deferral: Deferral | None = None
        while (ticket := self._queues.next()) is not None:
            worker = self._fleet.best(ticket.demand, deployment=deployment, now_s=now_s)
            if worker is None:
                deferral = self._deferred(ticket, deployment, now_s)
                break
            batch = batches.get(worker.name)
            if batch is None:
                batch = batches[worker.name] = _batch(worker, ticket.demand)
            self._queues.leave(ticket)
            batch.parts.append(Part(ticket, self._fleet.place(worker, ticket.demand, now_s=now_s), batch.why))
        return Decision(batches=list(batches.values()), deferral=deferral)

    def view(self, latency_class: str, *, now_s: float) -> LaneView:
        return _UNKNOWN

    def learned(self) -> ModelFigures | None:
        return None

    def _deferred(self, ticket: Ticket, deployment: str, now_s: float) -> Deferral | None:
        workers = len(self._fleet.eligible(deployment, now_s=now_s))
        figures = {"workers": float(workers), "slack_s": round(ticket.due_at_ms / 1000 - now_s, 4)}
        reason = "credit" if workers else NO_WORKER
        return self._deferrals.blocked(reason, figures=figures, queued=len(self._queues), now_s=now_s)


def _batch(worker: Worker, demand: Demand) -> Batch:
    figures = {
        "free_sequences": float(worker.free_sequences),
        "max_sequences": float(worker.heartbeat.limits.max_sequences),
    }
    limit = max(worker.free_for(demand), 1)
    return Batch(worker=worker, size_limit=limit, parts=[], why=Why("least_occupied", figures))
