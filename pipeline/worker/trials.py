"""Which requests have to run alone, which are not run again, and when it is the engine that is to blame.

`pipeline.worker.history` knows what the log says about processes that died, `pipeline.worker.quarantine` who runs alone
now. Times are microseconds since the epoch by the worker's clock.
"""

from typing import TYPE_CHECKING, Final

from pipeline.worker.blame import Blame
from pipeline.worker.effects import Leave
from pipeline.worker.history import Standing
from pipeline.worker.jobs import Ending, Job, Phase
from topics.errors import EngineDead

if TYPE_CHECKING:
    from pipeline.worker.lifecycle import Lifecycle

FATAL_DEATHS: Final = 2


class Trials:
    """Judges the jobs of one worker after deaths of engines and of processes."""

    def __init__(self, life: "Lifecycle") -> None:
        self._life = life
        self.blame = Blame()

    def is_fatal(self, job: Job, *, was_alone: bool, was_on_trial: bool) -> bool:
        """Whether it has killed an engine twice: it ran when one died, and then alone or on trial when another did."""
        return job.deaths >= FATAL_DEATHS and (was_alone or was_on_trial)

    def is_held(self, job: Job, standing: Standing, *, length: int, now_us: int) -> bool:
        """A job that has just learned from the log what was before it: whether it must not go on now.

        The log alone convicts no more requests than `Blame` allows; the others are tried again, and it never speaks
        against the deployment: only deaths that this worker has seen do.

        Args:
            job: its attempt has begun, and goes on after `length` tokens if it goes on.
            standing: what the log says.
            length: tokens of the answer so far.
            now_us: the time.
        """
        if job.ending is not None or standing is Standing.CLEAR:
            return False
        if standing is Standing.CONVICTED and self.blame.on_guilty():
            self._condemn(job, now_us)
            return True
        if self._life.quarantine.is_on_trial(job):
            return False
        self._life.give_up(job, Ending.SUSPECTED, now_us)
        job.tokens_at_death = length
        job.phase, job.ending = Phase.WAITING, None
        job.runs -= 1
        self._life.quarantine.add(job)
        self._life.begin_waiting(now_us)
        return True

    def convict(self, job: Job, now_us: int) -> None:
        """End a request that this worker's engines have died of, unless too many seem to be such."""
        if self.blame.on_guilty():
            self._condemn(job, now_us)
        else:
            self._blame_engine(job, now_us)

    def _condemn(self, job: Job, now_us: int) -> None:
        attempt = job.attempt
        assert attempt is not None
        self._life.quarantine.on_end(job)
        error = EngineDead("engines died again and again while they ran this request; it is not tried again")
        self._life.terminate(job, attempt.fail(error, now_us))
        self._life.dead_letter(job, error)

    def _blame_engine(self, job: Job, now_us: int) -> None:
        """Keep the request for another deployment or a mended one, and stop taking more."""
        self._life.give_up(job, Ending.ENGINE_DEAD, now_us)
        self._life.hand_back(job)
        if not self._life.is_draining:
            reason = (
                f"deployment {job.dispatch.deployment} dies of one request after the other; they are handed back, not "
                "sent to the dead letters: see `millrace dlq list --code engine_dead`, then roll the deployment back"
            )
            self._life.is_draining = True
            self._life.effects.append(Leave(grace_s=0.0, reason=reason, is_failure=True))
