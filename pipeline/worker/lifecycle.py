"""The life of a dispatch inside a worker: begun, run, ended, published, acknowledged.

Each leads to exactly one acknowledged end: a terminal record, a hand-back, a dead letter, or a slot that is lost and
somebody else's. `pipeline.worker.core` turns events into calls of this; how each is carried through is decided here.
Times are microseconds since the epoch by the worker's clock.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, Literal

from pipeline.engines.protocol import EngineRequest, Output
from pipeline.worker.attempts import Attempt
from pipeline.worker.copying import Copied, Copy, Fate
from pipeline.worker.deadlines import Deadlines
from pipeline.worker.effects import Abort, Acknowledge, Effect, Fatal, Follow, Submit, Unfollow
from pipeline.worker.jobs import Ending, Job, Jobs, Phase
from pipeline.worker.quarantine import Quarantine
from pipeline.worker.slot import starting_mode
from pipeline.worker.telling import Teller, finished
from topics.bodies import decode_body
from topics.codec import MAX_RECORD_BYTES
from topics.errors import Cancelled, DeadlineExceeded, EngineDead, GenerationFailed, PipelineError, RequestError
from topics.fleet import Finished
from topics.responses import Failed, Rejected, TerminalRecord

MAX_ANSWER_BYTES: Final = MAX_RECORD_BYTES - 4096
"""Largest terminal record: a record that the broker refuses for its size could never be delivered."""
MAX_RUNS: Final = 3
"""Attempts of one dispatch in one process; after that it fails."""


class Lifecycle:
    """All dispatches at hand, and the steps from one phase to the next.

    Attributes:
        running: attempts that the engine has, by name.
        copies: attempts that are copied from a primary's, by name.
        publishing: what waits for the broker's acknowledgement, by the `ref` of its last record.
        effects: what is wanted done; taken by the core.
        changes: grows whenever a heartbeat would say something else.
    """

    def __init__(self, teller: Teller, *, new_id: Callable[[], str]) -> None:
        self.jobs = Jobs()
        self.running: dict[str, Job] = {}
        self.copies: dict[str, Job] = {}
        self.publishing: dict[str, Job] = {}
        self.waiting: deque[Job] = deque()
        self.quarantine = Quarantine()
        self.deadlines = Deadlines()
        self.finished: list[Finished] = []
        self.effects: list[Effect] = []
        self.changes = 0
        self.is_draining = False
        self.is_held = False
        self.engine_is_ready = False
        self._teller = teller
        self._new_id = new_id

    # Beginning

    def begin_or_wait(self, job: Job, now_us: int) -> None:
        if self.is_draining:
            self.hand_back(job)
        elif self._may_begin(job):
            self._begin(job, now_us)
        else:
            self.waiting.append(job)

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
        """Start an attempt on the engine, or end it at once where its body cannot be served."""
        try:
            body = decode_body(job.dispatch.endpoint, job.dispatch.body)
        except RequestError as error:
            attempt = self._start(job, now_us)
            self._terminate(job, attempt.fail(error, now_us))
            self.quarantine.on_end(job)
            return
        if job.dispatch.primary is not None:
            job.phase = Phase.FOLLOWING
            job.attempt = None
            job.copy = Copy(streams=body.stream)
            self.effects.append(Follow(job.serial, job.dispatch.primary))
            return
        attempt = self._start(job, now_us, streams=body.stream)
        job.phase = Phase.RUNNING
        self.running[attempt.name] = job
        request = EngineRequest(
            key=attempt.name,
            endpoint=job.dispatch.endpoint,
            body=body,
            priority=job.dispatch.priority,
            batch=job.dispatch.batch,
        )
        self.effects.append(Submit(request))

    def _start(self, job: Job, now_us: int, *, streams: bool = False) -> Attempt:
        """Publish the beginning of a new attempt."""
        job.attempt = attempt = Attempt(
            name=self._new_id(),
            dispatch=job.dispatch,
            streams=streams,
            mode=starting_mode(may_have_started=job.may_have_started),
            address=job.address,
            term=job.slot.term,
            now_us=now_us,
        )
        job.runs += 1
        job.may_have_started = True
        job.ending = None
        self.changes += 1
        self.effects.append(self._teller.answer(job, attempt.started(), headers=job.headers))
        self.effects.append(self._teller.began(job, attempt, now_us))
        return attempt

    # Copying

    def copy(self, job: Job, copied: Copied, now_us: int) -> None:
        """The log of its primary says something to a job that follows."""
        if copied is Fate.DETACHED:
            self.let_go(job, now_us, reason="detached")
            return
        attempt = job.attempt
        if copied is Fate.VOIDED:
            if attempt is not None:
                self._give_up(job, Ending.VOIDED, now_us)
                self.copies.pop(attempt.name, None)
                job.attempt = None
            return
        if attempt is None:
            assert job.copy is not None
            attempt = self._start(job, now_us, streams=job.copy.streams)
            self.copies[attempt.name] = job
        if isinstance(copied, Failed | Rejected):
            self._terminate(job, attempt.repeat(copied, now_us))
            return
        record = attempt.on_output(copied, now_us)
        if record is not None:
            self.effects.append(self._teller.answer(job, record))
        if copied.is_last:
            if copied.usage is not None:
                attempt.tokens = max(attempt.tokens, copied.usage.completion_tokens)
            self._terminate(job, attempt.end(copied, now_us))

    def let_go(self, job: Job, now_us: int, *, reason: Literal["drained", "detached"] = "drained") -> None:
        """Give a job that follows back to its processor."""
        if job.attempt is not None:
            self._give_up(job, Ending.RETURNED, now_us)
        self.hand_back(job, reason=reason)

    def copy_refused(self, job: Job, now_us: int) -> None:
        """A record of a copy was refused by the broker: it is made again."""
        job.ending = Ending.UNDELIVERED
        self._stopped(job, now_us)

    def _unfollow(self, job: Job) -> None:
        """It copies no longer; any job may be named."""
        if job.copy is None:
            return
        job.copy = None
        self.effects.append(Unfollow(job.serial))
        if job.attempt is not None:
            self.copies.pop(job.attempt.name, None)

    # Ending

    def end(self, job: Job, output: Output, now_us: int) -> None:
        """The engine's last output for a job that runs."""
        attempt = job.attempt
        assert attempt is not None
        del self.running[attempt.name]
        self.quarantine.on_end(job)
        was_stopped = isinstance(output.error, Cancelled)
        if job.ending in (Ending.LOST, Ending.UNDELIVERED) or (job.ending is Ending.RETURNED and was_stopped):
            self._stopped(job, now_us)
        elif job.ending is not None and was_stopped:
            self._terminate(job, attempt.fail(_reason(job), now_us))
        else:
            self._terminate(job, attempt.end(output, now_us))

    def _stopped(self, job: Job, now_us: int) -> None:
        """An attempt has ended without a terminal record."""
        assert job.ending is not None
        ending = job.ending
        self._give_up(job, ending, now_us)
        if ending is Ending.LOST:
            self._forget(job)
        elif ending is Ending.RETURNED:
            self.hand_back(job)
        else:
            self._again(job, now_us)

    def _again(self, job: Job, now_us: int) -> None:
        """Another attempt after one whose records were refused, as long as there is hope."""
        self._unfollow(job)
        job.phase = Phase.WAITING
        job.ending = None
        if job.slot.is_owned and job.runs < MAX_RUNS:
            self.begin_or_wait(job, now_us)
        elif job.slot.is_owned:
            error = PipelineError(f"answers to {job.dispatch.reply.topic}/{job.dispatch.reply.partition} are refused")
            self._dead_letter(job, error)
        else:
            self._forget(job)

    def end_early(self, job: Job, ending: Ending, now_us: int) -> None:
        """End a job for a reason of its own: at once if it waits, through the engine if it runs."""
        if job.phase is Phase.WAITING:
            attempt = self._start(job, now_us)
            job.ending = ending
            self._terminate(job, attempt.fail(_reason(job), now_us))
        elif job.phase is Phase.FOLLOWING:
            attempt = job.attempt or self._start(job, now_us)
            job.ending = ending
            self._terminate(job, attempt.fail(_reason(job), now_us))
        elif job.phase is Phase.RUNNING and job.ending in (None, Ending.RETURNED):
            self.abort(job, ending)

    def abort(self, job: Job, ending: Ending) -> None:
        assert job.attempt is not None
        if job.ending is None:
            self.effects.append(Abort(job.attempt.name))
        job.ending = ending

    def after_death(self, job: Job, was_alone: bool, now_us: int) -> None:
        attempt = job.attempt
        assert attempt is not None
        self.quarantine.on_end(job)
        if job.ending in (Ending.CANCELLED, Ending.EXPIRED):
            self._terminate(job, attempt.fail(_reason(job), now_us))
            return
        if job.ending is not None:
            self._stopped(job, now_us)
            return
        job.deaths += 1
        if job.runs >= MAX_RUNS or (was_alone and job.deaths > 1):
            error = EngineDead(f"the engine died {job.deaths} times while it ran this request; it is not tried again")
            self._terminate(job, attempt.fail(error, now_us))
            self._dead_letter(job, error)
            return
        self._give_up(job, Ending.ENGINE_DEAD, now_us)
        job.tokens_at_death = attempt.tokens
        job.phase, job.ending = Phase.WAITING, None
        if self.is_draining:
            self.hand_back(job)
        else:
            self.quarantine.add(job)

    def _give_up(self, job: Job, ending: Ending, now_us: int) -> None:
        """Account for the present attempt, which wrote no terminal record."""
        attempt = job.attempt
        assert attempt is not None
        attempt.finished_us = now_us
        self.effects.append(self._teller.given_up(job, attempt, ending.value))

    def lose(self, job: Job, now_us: int) -> None:
        if job.phase is Phase.RUNNING:
            self.abort(job, Ending.LOST)
        elif job.phase is Phase.FOLLOWING:
            if job.attempt is not None:
                self._give_up(job, Ending.LOST, now_us)
            self._forget(job)
        elif job.phase is Phase.WAITING:
            self._forget(job)

    def _terminate(self, job: Job, record: TerminalRecord) -> None:
        """Publish the terminal record; the rest follows when the broker has it."""
        assert job.attempt is not None
        self._unfollow(job)
        job.phase = Phase.PUBLISHING
        job.unsettled += 1
        self.changes += 1
        self.deadlines.remove(job.serial)
        self.publishing[job.attempt.name] = job
        send = self._teller.answer(job, record, headers=job.headers, is_last=True)
        if len(send.value) > MAX_ANSWER_BYTES:
            error = GenerationFailed(
                f"the answer has {len(send.value)} bytes, a record holds {MAX_ANSWER_BYTES}; set stream to true"
            )
            failed = job.attempt.fail(error, job.attempt.finished_us)
            send = self._teller.answer(job, failed, headers=job.headers, is_last=True)
        self.effects.append(send)

    def hand_back(self, job: Job, *, reason: Literal["drained", "detached"] = "drained") -> None:
        """Give the dispatch back to its processor; acknowledged when the broker has it."""
        self._unfollow(job)
        ref = f"return/{job.serial}"
        job.phase = Phase.PUBLISHING
        job.ending = Ending.RETURNED
        job.attempt = None
        job.unsettled += 1
        self.changes += 1
        self.deadlines.remove(job.serial)
        self.publishing[ref] = job
        self.effects.append(self._teller.returned(job, ref, reason))

    def _dead_letter(self, job: Job, error: PipelineError) -> None:
        """The dispatch itself goes to the dead letters, and is acknowledged only when it is there too."""
        ref = f"dead/{job.serial}"
        job.phase = Phase.PUBLISHING
        job.unsettled += 1
        self.publishing[ref] = job
        self.effects.append(self._teller.dead_job(job, ref, error))

    def settle(self, job: Job) -> None:
        """Everything that ends the job is acknowledged by the broker."""
        attempt = job.attempt
        if attempt is not None and attempt.terminal is not None:
            self.effects.extend(self._teller.ended(job, attempt))
            self.finished.append(finished(job, attempt, attempt.terminal))
        self.effects.extend(Acknowledge(slot, offset) for slot, offset in job.acknowledges)
        self._forget(job)

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

    def _forget(self, job: Job) -> None:
        self._unfollow(job)
        self.deadlines.remove(job.serial)
        self.quarantine.on_end(job)
        self.jobs.remove(job)
        self.changes += 1


def _reason(job: Job) -> PipelineError:
    """The error of a job that is ended early."""
    if job.ending is Ending.EXPIRED:
        return DeadlineExceeded(
            f"the deadline (broker time {job.dispatch.deadline_at_ms} ms) passed before the answer was complete; "
            "send it again with a later one"
        )
    return Cancelled("ended because its sender asked for it")
