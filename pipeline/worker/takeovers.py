"""Steps of a dispatch that may have been begun before: by another worker, or by an attempt here that came to nothing.

What the log means for it is `resuming`'s business. Times are microseconds since the epoch by the worker's clock.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.engines.continuing import why_not_continued
from pipeline.worker.jobs import Ending, Job, Phase
from pipeline.worker.resuming import Fate, Resume
from pipeline.worker.slot import starting_mode
from topics.bodies import Body, decode_body
from topics.errors import RequestError

if TYPE_CHECKING:
    from pipeline.worker.lifecycle import Lifecycle


class TakeOvers:
    """Jobs that resume, as steps on the life of all dispatches."""

    def __init__(self, life: "Lifecycle") -> None:
        self._life = life

    def begin(self, job: Job, body: Body | RequestError, now_us: int, *, ending: Ending | None = None) -> None:
        """Find out from the log what the attempts before have done, up to the beginning of this one.

        `ending`: why the request is to end as soon as that is known.
        """
        life = self._life
        needs_engine = ending is None and job.dispatch.primary is None
        restarts = needs_engine and not isinstance(body, RequestError) and why_not_continued(body) is not None
        mode = starting_mode(may_have_started=True, can_continue=not restarts)
        attempt = life.start(job, now_us, mode=mode, streams=streams_of(body))
        job.phase = Phase.RESUMING
        job.ending = ending
        job.resume = Resume(attempt.name, hop=job.dispatch.hop, before=job.dispatch.told)
        life.following[attempt.name] = job
        life.follow(job, job.records)

    def step(self, job: Job, fate: Fate, now_us: int) -> None:
        """The log has been read up to the beginning of the job's attempt."""
        life = self._life
        resume, attempt, ending, body = job.resume, job.attempt, job.ending, body_of(job)
        assert resume is not None and attempt is not None
        life.unfollow(job)
        if fate in (Fate.SUPERSEDED, Fate.ENDED):
            life.leave(job, resume.ended, now_us)
            return
        if fate is Fate.IS_CUT:
            life.give_up(job, Ending.VOIDED, now_us)
            life.start(job, now_us, mode="restart", streams=streams_of(body))
            job.runs -= 1
            job.ending = ending
            self._go_on(job, body, (), now_us)
            return
        attempt.go_on(resume.told, resume.text)
        standing = resume.history.standing(job.address, job.slot.term)
        is_copy = job.dispatch.primary is not None
        if not is_copy and life.trials.is_held(job, standing, length=len(resume.tokens), now_us=now_us):
            return
        self._go_on(job, body, resume.tokens, now_us)

    def _go_on(self, job: Job, body: Body | RequestError, tokens: Sequence[int], now_us: int) -> None:
        """Go on after these tokens: with the primary's answer, or on the engine."""
        primary = job.dispatch.primary
        if primary is None or job.ending is not None or isinstance(body, RequestError):
            self._life.go_on(job, body, tokens, now_us)
        else:
            self._life.copies.go_on(job, primary, streams=body.stream, said=tokens)

    def interrupt(self, job: Job, now_us: int) -> None:
        """The engine is gone for which a job was resuming: it waits for the next one. Any job may be named."""
        if job.phase is not Phase.RESUMING or job.ending is not None or job.dispatch.primary is not None:
            return
        life = self._life
        life.give_up(job, Ending.ENGINE_DEAD, now_us)
        life.unfollow(job)
        life.quarantine.on_end(job)
        job.runs -= 1
        job.phase = Phase.WAITING
        if life.is_draining:
            life.hand_back(job)
        elif job.deaths:
            life.quarantine.add(job)
        else:
            life.waiting.append(job)


def body_of(job: Job) -> Body | RequestError:
    """The request's body, or what is wrong with it."""
    try:
        return decode_body(job.dispatch.endpoint, job.dispatch.body)
    except RequestError as error:
        return error


def streams_of(body: Body | RequestError) -> bool:
    """Whether the sender gets deltas."""
    return not isinstance(body, RequestError) and body.stream
