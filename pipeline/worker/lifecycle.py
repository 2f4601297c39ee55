"""The life of a dispatch inside a worker: begun, run, ended, published, acknowledged.

Each leads to exactly one acknowledged end: a terminal record, a hand-back, a dead letter, or a slot that is lost and
somebody else's. `pipeline.worker.core` turns events into calls of this; how each is carried through is decided here.
Times are microseconds since the epoch by the worker's clock.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from pipeline.engines.protocol import EngineRequest, Output
from pipeline.worker.copies import Copies
from pipeline.worker.effects import Abort, Fatal, Submit
from pipeline.worker.ends import Ends
from pipeline.worker.jobs import Ending, Job, Phase
from pipeline.worker.parking import Parking
from pipeline.worker.slot import starting_mode
from pipeline.worker.takeovers import TakeOvers, body_of, streams_of
from pipeline.worker.telling import ReturnReason, Teller
from pipeline.worker.trials import Trials
from pipeline.worker.weight import weight_of
from topics.bodies import Body
from topics.errors import Cancelled, DeadlineExceeded, PipelineError, RequestError

MAX_RUNS: Final = 3
"""Attempts of one dispatch in one process; after that it fails."""
HANDED_BACK: Final[Mapping[Ending, ReturnReason]] = MappingProxyType(
    {Ending.RETURNED: "drained", Ending.PARKED: "parked"}
)


class Lifecycle(Ends):
    """All dispatches at hand, and the steps from one phase to the next.

    Attributes:
        waiting: dispatches that nothing was begun for.
        copies: steps of those that copy a primary's answer.
        takeovers: steps of those that may have been begun before.
    """

    def __init__(self, teller: Teller, *, new_id: Callable[[], str]) -> None:
        super().__init__(teller, new_id=new_id)
        self.waiting: deque[Job] = deque()
        self.is_draining = False
        self.is_held = False
        self.engine_is_ready = False
        self.copies = Copies(self)
        self.takeovers = TakeOvers(self)
        self.trials = Trials(self)

    # Beginning

    def begin_or_wait(self, job: Job, now_us: int) -> None:
        if self.is_draining:
            self.hand_back(job)
        elif self._may_begin(job):
            self._begin(job, now_us)
        else:
            self.waiting.append(job)

    def make_room(self, job: Job, parking: Parking) -> None:
        """Park what yields, if a job that is about to begin would find no room; a copy needs none."""
        if job.dispatch.yields or job.dispatch.primary is not None or not self._may_begin(job):
            return
        if not any(other.dispatch.yields for other in self.running.values()):
            return
        body = body_of(job)
        if not isinstance(body, RequestError):
            for other in parking.for_the_sake_of(job.dispatch, weight_of(body), self.jobs):
                self.abort(other, Ending.PARKED)

    def _may_begin(self, job: Job) -> bool:
        is_open = self.engine_is_ready and not self.is_held and not self.quarantine.is_open
        # Metadata shrinks only when the first unfinished offset is finished: that one may always begin.
        tracker = job.slot.tracker
        return is_open and (not tracker.is_full or job.taken.offset == tracker.base)

    def begin_waiting(self, now_us: int) -> None:
        """Begin what waits, as far as it may: suspects of an engine's death one at a time, then the others."""
        if not self.engine_is_ready or self.is_draining:
            return
        while (suspect := self.quarantine.next_on_trial()) is not None:
            self._begin(suspect, now_us)
        if self.quarantine.is_open or not self.waiting:
            return
        waiting, self.waiting = self.waiting, deque()
        for job in waiting:
            if job.phase is Phase.WAITING:
                self.begin_or_wait(job, now_us)

    def _begin(self, job: Job, now_us: int) -> None:
        """Start an attempt: on the engine, in the log of a primary, or in that of the attempts before it."""
        body = body_of(job)
        if job.may_have_started:
            self.takeovers.begin(job, body, now_us)
        elif job.dispatch.primary is not None and not isinstance(body, RequestError):
            self.copies.begin(job, job.dispatch.primary, streams=body.stream)
        else:
            self.start(job, now_us, mode="fresh", streams=streams_of(body))
            self.go_on(job, body, (), now_us)

    def go_on(self, job: Job, body: Body | RequestError, continued: Sequence[int], now_us: int) -> None:
        """Give the present attempt to the engine, or end it at once where it cannot or must not be served."""
        attempt = job.attempt
        assert attempt is not None
        if job.ending is not None or isinstance(body, RequestError):
            error = body if isinstance(body, RequestError) else _reason(job)
            self.quarantine.on_end(job)
            self.terminate(job, attempt.fail(error, now_us))
            return
        job.phase = Phase.RUNNING
        job.body = body
        job.weight = weight_of(body)
        self.running[attempt.name] = job
        request = EngineRequest(
            key=attempt.name,
            endpoint=job.dispatch.endpoint,
            body=body,
            priority=job.dispatch.priority,
            continued=tuple(continued),
            repeats_text=not body.stream,
            batch=job.dispatch.batch,
        )
        self.effects.append(Submit(request))

    def follower_refused(self, job: Job, now_us: int) -> None:
        """A record of a job that reads the log was refused by the broker: it begins again."""
        self.quarantine.on_end(job)  # its next attempt finds out anew whether it is to be tried alone
        job.ending = Ending.UNDELIVERED
        self._stopped(job, now_us)

    # Ending

    def end(self, job: Job, output: Output, now_us: int) -> None:
        """The engine's last output for a job that runs."""
        attempt = job.attempt
        assert attempt is not None
        del self.running[attempt.name]
        self.quarantine.on_end(job)
        self.trials.blame.on_innocent()
        was_stopped = isinstance(output.error, Cancelled)
        if job.ending in (Ending.LOST, Ending.UNDELIVERED) or (job.ending in HANDED_BACK and was_stopped):
            self._stopped(job, now_us)
        elif job.ending is not None and was_stopped:
            self.terminate(job, attempt.fail(_reason(job), now_us))
        else:
            self.terminate(job, attempt.end(output, now_us))

    def _stopped(self, job: Job, now_us: int) -> None:
        """An attempt has ended without a terminal record."""
        assert job.ending is not None
        ending = job.ending
        if ending in HANDED_BACK:
            self._tell_rest(job)
        self.give_up(job, ending, now_us)
        if ending is Ending.LOST:
            self.forget(job)
        elif ending in HANDED_BACK:
            self.hand_back(job, reason=HANDED_BACK[ending])
        else:
            self._again(job, now_us)

    def _tell_rest(self, job: Job) -> None:
        """Publish the tokens that no record has yet: another attempt goes on after them."""
        rest = job.attempt.rest() if job.attempt is not None else None
        if rest is not None:
            self.effects.append(self.teller.answer(job, rest))

    def _again(self, job: Job, now_us: int) -> None:
        """Another attempt after one whose records were refused, as long as there is hope."""
        self.unfollow(job)
        job.phase = Phase.WAITING
        job.ending = None
        if not job.slot.is_owned:
            self.forget(job)
        elif job.runs >= MAX_RUNS:
            error = PipelineError(f"answers to {job.dispatch.reply.topic}/{job.dispatch.reply.partition} are refused")
            self.dead_letter(job, error)
        elif job.asked is not None:
            self.end_early(job, job.asked, now_us)
        else:
            self.deadlines.add(job.serial, job.dispatch.deadline_at_ms)
            self.begin_or_wait(job, now_us)

    def end_early(self, job: Job, ending: Ending, now_us: int) -> None:
        """End a job for a reason of its own: at once if it waits, through the engine if it runs."""
        job.asked = job.asked or ending
        if job.phase is Phase.WAITING and job.may_have_started:
            self.takeovers.begin(job, body_of(job), now_us, ending=ending)
        elif job.phase is Phase.WAITING or job.phase is Phase.FOLLOWING:
            mode = starting_mode(may_have_started=job.may_have_started)
            attempt = (job.phase is Phase.FOLLOWING and job.attempt) or self.start(job, now_us, mode=mode)
            job.ending = ending
            self.terminate(job, attempt.fail(_reason(job), now_us))
        elif job.phase is Phase.RESUMING:
            job.ending = job.ending or ending
        elif job.phase is Phase.RUNNING and (job.ending is None or job.ending in HANDED_BACK):
            self.abort(job, ending)

    def abort(self, job: Job, ending: Ending) -> None:
        assert job.attempt is not None
        if job.ending is None:
            self.effects.append(Abort(job.attempt.name))
        job.ending = ending

    def after_death(self, job: Job, was_alone: bool, now_us: int) -> None:
        attempt = job.attempt
        assert attempt is not None
        was_on_trial = self.quarantine.is_on_trial(job)
        self.quarantine.on_end(job)
        if job.ending in (Ending.CANCELLED, Ending.EXPIRED):
            self.terminate(job, attempt.fail(_reason(job), now_us))
            return
        if job.ending is not None:
            self._stopped(job, now_us)
            return
        job.deaths += 1
        self._tell_rest(job)
        if self.trials.is_fatal(job, was_alone=was_alone, was_on_trial=was_on_trial):
            self.trials.convict(job, now_us)
            return
        job.runs -= 1
        self.give_up(job, Ending.ENGINE_DEAD, now_us)
        job.tokens_at_death = attempt.length
        job.phase, job.ending = Phase.WAITING, None
        if self.is_draining:
            self.hand_back(job)
        else:
            self.quarantine.add(job)

    def lose(self, job: Job, now_us: int) -> None:
        if job.phase is Phase.RUNNING:
            self.abort(job, Ending.LOST)
        elif job.phase in (Phase.FOLLOWING, Phase.RESUMING):
            if job.attempt is not None:
                self.give_up(job, Ending.LOST, now_us)
            self.forget(job)
        elif job.phase is Phase.WAITING:
            self.forget(job)

    def refused(self, ref: str, job: Job, now_us: int) -> None:
        """The end of a job was refused by the broker."""
        attempt = job.attempt
        if attempt is None or ref != attempt.name:
            # A return or a dead letter: without it the dispatch stays unacknowledged, and a successor runs it.
            self.effects.append(Fatal(f"{ref} was refused"))
            return
        job.unsettled = 0
        attempt.terminal = None
        job.ending = Ending.UNDELIVERED
        self._stopped(job, now_us)


def _reason(job: Job) -> PipelineError:
    """The error of a job that is ended early."""
    if job.ending is Ending.EXPIRED:
        return DeadlineExceeded(
            f"the deadline (broker time {job.dispatch.deadline_at_ms} ms) passed before the answer was complete; "
            "send it again with a later one"
        )
    return Cancelled("ended because its sender asked for it")
