"""What every way of batching offers the scheduler: who is turned away, what is released now, and when to ask again.

A controller shares the scheduler's queues and fleet. It takes the tickets that it releases or drops out of the queues
and places what it releases with workers; the scheduler turns its decisions into records, rows and answers. Controllers
are synchronous and know no clock: the same calls at the same times give the same decisions.
"""

from typing import Final, Protocol

import msgspec
from msgspec import Struct

from processors.queueing.ticket import Ticket
from processors.routing.fleet import Placed, Worker
from topics.fleet import Finished, ModelFigures

Figures = dict[str, float]
"""The numbers that a decision was made from, by name with unit: `predicted_ttft_s`, `queue_ahead_requests`, ..."""


class Why(Struct, frozen=True):
    """Why something was decided: a reason of a closed set, low in cardinality, and the figures behind it."""

    reason: str
    figures: Figures = {}

    @property
    def detail(self) -> str:
        """The figures as a JSON object, as the trace keeps them; empty where there are none."""
        return msgspec.json.encode(self.figures).decode() if self.figures else ""


NO_REASON: Final = Why("")
"""Where nothing was chosen: the outcome says it all."""


class Part(Struct, frozen=True, gc=False):
    """One request of a batch, its place, and why it went there and then.

    `sequence_limit` is what its worker may hold with it; running work that yields gives way where it holds more. 0 for
    what the engine takes.
    """

    ticket: Ticket
    placed: Placed
    why: Why
    sequence_limit: int = 0


class Batch(Struct, kw_only=True):
    """What one decision gives to one worker. `size_limit` is the most requests that it could have held."""

    worker: Worker
    size_limit: int
    parts: list[Part]
    why: Why


class Refused(Struct, frozen=True):
    """A request that is not queued because the prediction says that it would be too late.

    `retry_after_s` is when the same request would have a chance.
    """

    why: Why
    retry_after_s: float


class Dropped(Struct, frozen=True):
    """A request that waited and cannot make it any more."""

    ticket: Ticket
    why: Why


class Deferral(Struct, frozen=True):
    """So many requests wait: `why` says for what.

    `has_room` where a worker would take some: it costs nothing to wait, or to send them would cost those that run.
    """

    why: Why
    queued: int
    has_room: bool = True


class Decision(Struct, kw_only=True):
    """What happens now. `wake_at_s` is when to ask again if nothing else happens before; None for never."""

    batches: list[Batch] = []
    dropped: list[Dropped] = []
    deferral: Deferral | None = None
    wake_at_s: float | None = None


class LaneView(Struct, kw_only=True, frozen=True):
    """How a lane does, for people.

    `size_limit` is the largest batch that its SLO allows; `saturation` the batch size that keeps up with the load over
    that limit: above 1, only more workers help. `model_error_ratio` is the mean of |actual - predicted| / predicted of
    late.
    """

    arrivals_per_s: float
    size_limit: int
    saturation: float
    model_error_ratio: float


class Controller(Protocol):
    """Decides what is released. Times are broker time in seconds since the epoch."""

    def refuse(self, ticket: Ticket, *, now_s: float) -> Refused | None:
        """Whether a new request should be turned away at once. Only classes that may be shed ever are."""
        ...

    def on_queued(self, ticket: Ticket, *, now_s: float) -> None:
        """A request has joined its lane; one with a hop was dispatched before and is no new arrival."""
        ...

    def on_returned(self, ticket: Ticket) -> None:
        """A worker has handed a request back: it is there no more, whether it will join its lane again or not."""
        ...

    def on_worker(self, worker: Worker, *, now_s: float) -> None:
        """The fleet has counted a newer heartbeat of this worker: learn from it."""
        ...

    def on_finished(self, finished: Finished, *, tenant: str, latency_class: str) -> None:
        """A request that was dispatched from here has ended at its worker."""
        ...

    def decide(self, *, deployment: str, now_s: float) -> Decision:
        """Release what has room among the workers of `deployment`, drop what cannot make it."""
        ...

    def view(self, latency_class: str, *, now_s: float) -> LaneView:
        """Figures of a lane."""
        ...

    def learned(self) -> ModelFigures | None:
        """What is known of the engines of the deployment that gets work; None where nothing is."""
        ...
