"""Dispatches at hand: what a worker has taken from its slots and not finished."""

import itertools
from collections.abc import Iterator
from enum import StrEnum

from pipeline.worker.attempts import Attempt
from pipeline.worker.cancels import Place
from pipeline.worker.copying import Copy
from pipeline.worker.resuming import Resume
from pipeline.worker.slot import SlotOwner, Taken
from pipeline.worker.weight import UNKNOWN
from topics import names
from topics.bodies import Body
from topics.dispatches import Cancel, Dispatch, Primary
from topics.headers import trace_context, trace_id


class Phase(StrEnum):
    """How far a dispatch is."""

    WAITING = "waiting"
    RUNNING = "running"
    RESUMING = "resuming"
    """Reads what the attempts before have written."""
    FOLLOWING = "following"
    """Copies the answer of its primary."""
    PUBLISHING = "publishing"
    DONE = "done"


class Ending(StrEnum):
    """Why an attempt is being ended before its engine has finished; the label of the outcome in its row."""

    CANCELLED = "cancelled"
    EXPIRED = "expired"
    RETURNED = "returned"
    PARKED = "parked"
    """Handed back as well, to make room."""
    LOST = "lost"
    UNDELIVERED = "undelivered"
    ENGINE_DEAD = "engine_dead"
    VOIDED = "voided"
    """Its primary began again, or the beginning of its own answer is not in the log any more."""
    SUSPECTED = "suspected"
    """Attempts before it have ended nowhere: it waits until it can be tried alone."""
    SUPERSEDED = "superseded"
    """The request had ended before it began, or another attempt answers it."""


class Job:
    """One dispatch and its present attempt."""

    __slots__ = (
        "acknowledges",
        "asked",
        "attempt",
        "body",
        "copy",
        "deaths",
        "dispatch",
        "elsewhere",
        "ending",
        "headers",
        "may_have_started",
        "phase",
        "reply_key",
        "resume",
        "runs",
        "serial",
        "slot",
        "taken",
        "tokens_at_death",
        "trace_id",
        "unsettled",
        "weight",
    )

    def __init__(self, taken: Taken, dispatch: Dispatch, slot: SlotOwner) -> None:
        self.taken = taken
        self.dispatch = dispatch
        self.slot = slot
        self.may_have_started = taken.may_have_started
        self.reply_key = dispatch.id.encode()
        self.headers = tuple(trace_context(taken.headers)) if taken.headers else ()
        self.trace_id = trace_id(taken.headers)
        self.serial = 0
        """Names it among all jobs of the process; set when it is added to `Jobs`."""
        self.attempt: Attempt | None = None
        self.body: Body | None = None
        """The request's, once it was given to the engine."""
        self.copy: Copy | None = None
        """What it makes of its primary's records while it follows."""
        self.resume: Resume | None = None
        """What it makes of its own request's records while it resumes."""
        self.phase = Phase.WAITING
        self.ending: Ending | None = None
        self.asked: Ending | None = None
        """Why it is to end whatever its attempts do: cancelled or expired."""
        self.runs = 0
        """Attempts begun in this process."""
        self.deaths = 0
        """Engines that died while it ran."""
        self.tokens_at_death = 0
        """Length of the answer when the engine died."""
        self.unsettled = 0
        """Records that must be acknowledged by the broker before the dispatch is."""
        self.elsewhere: tuple[Place, ...] = ()
        """Those of the cancellations that lie in other slots than it does itself."""
        self.weight = UNKNOWN
        """What it takes of the engine; known once its body was read."""
        self.acknowledges: list[tuple[SlotOwner, int]] = [(slot, taken.offset)]
        """Records that are finished together with it: itself, and cancellations of it."""

    @property
    def first_ms(self) -> int:
        """When the request was dispatched first: no attempt at it began before.

        Of two processors that both dispatched it, the one that stalled in between has decided so before the other one
        read the log; when its record arrived says nothing.
        """
        dispatch = self.dispatch
        if dispatch.first_dispatched_at_ms is not None:
            return dispatch.first_dispatched_at_ms
        decided_ms = dispatch.stations.dispatched_at_us // 1000
        return min(self.taken.at_ms, decided_ms) if decided_ms else self.taken.at_ms

    @property
    def records(self) -> Primary:
        """Where the records of its request lie, as of a primary that it follows."""
        dispatch = self.dispatch
        return Primary(id=dispatch.id, origin=dispatch.origin, reply=dispatch.reply, since_ms=self.first_ms)

    @property
    def address(self) -> str:
        """`topic/partition/offset` of the dispatch."""
        topic = names.dispatch_topic(self.dispatch.deployment)
        return names.origin_of(topic, self.taken.partition, self.taken.offset)


class Jobs:
    """All dispatches at hand, by serial number and by request."""

    def __init__(self) -> None:
        self._serials = itertools.count(1)
        self._by_serial: dict[int, Job] = {}
        self._by_request: dict[tuple[str, str], list[Job]] = {}

    def add(self, job: Job) -> None:
        job.serial = next(self._serials)
        self._by_serial[job.serial] = job
        self._by_request.setdefault((job.dispatch.tenant, job.dispatch.id), []).append(job)

    def remove(self, job: Job) -> None:
        """Forget it. Idempotent."""
        job.phase = Phase.DONE
        if self._by_serial.pop(job.serial, None) is None:
            return
        request = (job.dispatch.tenant, job.dispatch.id)
        others = [other for other in self._by_request[request] if other is not job]
        if others:
            self._by_request[request] = others
        else:
            del self._by_request[request]

    def at(self, serial: int) -> Job | None:
        """The one with a serial number, if it is still at hand."""
        return self._by_serial.get(serial)

    def meant_by(self, cancel: Cancel) -> list[Job]:
        """Those that a cancellation asks to end: of the same tenant and id, and of its origin if it names one."""
        found = self._by_request.get((cancel.tenant, cancel.id), ())
        return [job for job in found if cancel.origin in (None, job.dispatch.origin)]

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._by_serial.values()))

    def __len__(self) -> int:
        return len(self._by_serial)
