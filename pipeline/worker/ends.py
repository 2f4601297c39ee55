"""What all dispatches at hand share, and the ways out: a terminal record, a hand-back, a dead letter, given up.

Which way a dispatch takes is decided in `pipeline.worker.lifecycle`. Times are microseconds since the epoch by the
worker's clock.
"""

from collections.abc import Callable
from typing import Final

from pipeline.worker.attempts import Attempt
from pipeline.worker.deadlines import Deadlines
from pipeline.worker.effects import Acknowledge, Effect, Follow, Unfollow
from pipeline.worker.jobs import Ending, Job, Jobs, Phase
from pipeline.worker.quarantine import Quarantine
from pipeline.worker.resuming import Ended
from pipeline.worker.telling import ReturnReason, Teller, ended_before, finished
from topics.codec import MAX_RECORD_BYTES
from topics.dispatches import Primary
from topics.errors import GenerationFailed, PipelineError
from topics.fleet import Finished
from topics.responses import Mode, TerminalRecord

LET_GO: Final = frozenset({Ending.LOST, Ending.SUSPECTED})
"""Endings after which others go on with the same dispatch, who would wonder whether this worker has died of it."""
MAX_ANSWER_BYTES: Final = MAX_RECORD_BYTES - 4096
"""Largest terminal record: a record that the broker refuses for its size could never be delivered."""


class Ends:
    """Dispatches at hand, what is wanted done for them, and how each ends.

    Attributes:
        running: attempts that the engine has, by name.
        following: attempts that read the log, by name: copies, and those that resume.
        publishing: what waits for the broker's acknowledgement, by the `ref` of its last record.
        effects: what is wanted done; taken by the core.
        changes: grows whenever a heartbeat would say something else.
    """

    def __init__(self, teller: Teller, *, new_id: Callable[[], str]) -> None:
        self.jobs = Jobs()
        self.running: dict[str, Job] = {}
        self.following: dict[str, Job] = {}
        self.publishing: dict[str, Job] = {}
        self.quarantine = Quarantine()
        self.deadlines = Deadlines()
        self.finished: list[Finished] = []
        self.effects: list[Effect] = []
        self.changes = 0
        self.teller = teller
        self._new_id = new_id

    def start(self, job: Job, now_us: int, *, mode: Mode, streams: bool = False) -> Attempt:
        """Publish the beginning of a new attempt."""
        job.attempt = attempt = Attempt(
            name=self._new_id(),
            dispatch=job.dispatch,
            streams=streams,
            mode=mode,
            address=job.address,
            term=job.slot.term,
            now_us=now_us,
        )
        job.runs += 1
        job.may_have_started = True
        job.ending = None
        self.changes += 1
        started = attempt.started(on_trial=self.quarantine.is_on_trial(job))
        self.effects.append(self.teller.answer(job, started, headers=job.headers))
        self.effects.append(self.teller.began(job, attempt, now_us))
        return attempt

    def follow(self, job: Job, request: Primary) -> None:
        """Have the records of a request read for a job."""
        self.effects.append(Follow(job.serial, request))

    def unfollow(self, job: Job) -> None:
        """It reads nothing more; any job may be named."""
        if job.copy is None and job.resume is None:
            return
        job.copy = job.resume = None
        self.effects.append(Unfollow(job.serial))
        if job.attempt is not None:
            self.following.pop(job.attempt.name, None)

    def terminate(self, job: Job, record: TerminalRecord) -> None:
        """Publish the terminal record; the rest follows when the broker has it."""
        assert job.attempt is not None
        self.unfollow(job)
        self._publish_end(job, job.attempt.name)
        send = self.teller.answer(job, record, headers=job.headers, is_last=True)
        if len(send.value) > MAX_ANSWER_BYTES:
            error = GenerationFailed(
                f"the answer has {len(send.value)} bytes, a record holds {MAX_ANSWER_BYTES}; set stream to true"
            )
            failed = job.attempt.fail(error, job.attempt.finished_us)
            send = self.teller.answer(job, failed, headers=job.headers, is_last=True)
        self.effects.append(send)

    def hand_back(self, job: Job, *, reason: ReturnReason = "drained") -> None:
        """Give the dispatch back to its processor; acknowledged when the broker has it."""
        self.unfollow(job)
        ref = f"return/{job.serial}"
        self.effects.append(self.teller.returned(job, ref, reason))
        job.ending = Ending.RETURNED
        job.attempt = None
        self._publish_end(job, ref)

    def let_go(self, job: Job, now_us: int, *, reason: ReturnReason = "drained") -> None:
        """Give a job that reads the log back to its processor."""
        if job.attempt is not None:
            self.give_up(job, Ending.RETURNED, now_us)
        self.hand_back(job, reason=reason)

    def dead_letter(self, job: Job, error: PipelineError) -> None:
        """The dispatch itself goes to the dead letters, and is acknowledged only when it is there too."""
        ref = f"dead/{job.serial}"
        job.phase = Phase.PUBLISHING
        job.unsettled += 1
        self.publishing[ref] = job
        self.effects.append(self.teller.dead_job(job, ref, error))

    def _publish_end(self, job: Job, ref: str) -> None:
        job.phase = Phase.PUBLISHING
        job.unsettled += 1
        self.changes += 1
        self.deadlines.remove(job.serial)
        self.publishing[ref] = job

    def settle(self, job: Job) -> None:
        """Everything that ends the job is acknowledged by the broker."""
        attempt = job.attempt
        if attempt is not None and attempt.terminal is not None:
            self.effects.extend(self.teller.ended(job, attempt))
            self.finished.append(finished(job, attempt, attempt.terminal))
        self._acknowledge(job)

    def leave(self, job: Job, ended: Ended | None, now_us: int) -> None:
        """The request is answered without the present attempt: by one that ended it before, or by a later hop.

        Whoever ended it on this dispatch may have died before its row was in the account: it is told again.
        """
        self.give_up(job, Ending.SUPERSEDED, now_us)
        if ended is not None and ended.started.dispatch == job.address:
            self.effects.extend(self.teller.retold(job, ended))
            self.finished.append(ended_before(job, ended))
        self._acknowledge(job)

    def give_up(self, job: Job, ending: Ending, now_us: int) -> None:
        """Account for the present attempt, which wrote no terminal record."""
        attempt = job.attempt
        assert attempt is not None
        attempt.finished_us = now_us
        if ending in LET_GO:
            self.effects.append(self.teller.answer(job, attempt.let_go()))
        self.effects.append(self.teller.given_up(job, attempt, ending.value))

    def forget(self, job: Job) -> None:
        """It is not this worker's business any more."""
        self.unfollow(job)
        self.deadlines.remove(job.serial)
        self.quarantine.on_end(job)
        self.jobs.remove(job)
        self.changes += 1

    def _acknowledge(self, job: Job) -> None:
        self.effects.extend(Acknowledge(slot, offset) for slot, offset in job.acknowledges)
        self.forget(job)
