"""Which waiting requests are released now, and to whom: as many as there is credit for, and not one more.

Work-conserving and just in time: nothing waits while a worker has room, and nothing is committed to a worker before it
has. Batches are filled across the classes of the model, in order of priority and deadline. The first request that fits
nowhere stops the release: letting smaller ones pass would starve it.
"""

from enum import StrEnum

from msgspec import Struct

from processors.queueing.queues import Queues
from processors.queueing.ticket import Ticket
from processors.routing.fleet import Fleet, Placed, Worker


class Reason(StrEnum):
    """What made it possible to release a request at this moment."""

    ARRIVAL = "arrival"
    """It came while a worker had room."""
    CREDIT = "credit"
    """It waited, and a heartbeat brought room."""
    RETURN = "return"
    """A worker had handed it back, and another one had room."""


class Part(Struct, frozen=True):
    """One request of a batch and its place."""

    ticket: Ticket
    placed: Placed


class Batch(Struct, kw_only=True):
    """What one decision gives to one worker. `size_limit` is the credit in sequences that it had."""

    worker: Worker
    size_limit: int
    parts: list[Part]


def release(queues: Queues, fleet: Fleet, *, deployment: str, now_s: float) -> list[Batch]:
    """Take requests out of the queues and place them with workers, until one of the two is exhausted."""
    batches: dict[str, Batch] = {}
    while (ticket := queues.next()) is not None:
        worker = fleet.best(ticket.demand, deployment=deployment, now_s=now_s)
        if worker is None:
            break
        batch = batches.get(worker.name)
        if batch is None:
            batch = batches[worker.name] = Batch(worker=worker, size_limit=worker.free_sequences, parts=[])
        queues.leave(ticket)
        batch.parts.append(Part(ticket, fleet.place(worker, ticket.demand, now_s=now_s)))
    return list(batches.values())
