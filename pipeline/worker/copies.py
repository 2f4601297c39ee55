"""Steps of a dispatch that copies the answer of its primary. What the log means for it is `copying`'s business."""

from collections.abc import Sequence

from pipeline.worker.copying import Copied, Copy, Fate
from pipeline.worker.ends import Ends
from pipeline.worker.jobs import Ending, Job, Phase
from pipeline.worker.slot import starting_mode
from topics.dispatches import Primary
from topics.responses import Failed, Rejected


class Copies:
    """Copies at hand, as steps on what all dispatches share."""

    def __init__(self, ends: Ends) -> None:
        self._ends = ends

    def begin(self, job: Job, primary: Primary, *, streams: bool) -> None:
        """Read the primary's records; the attempt begins with the first one that counts."""
        job.attempt = None
        self._read(job, primary, Copy(streams=streams))

    def go_on(self, job: Job, primary: Primary, *, streams: bool, said: Sequence[int]) -> None:
        """Go on with the present attempt, after tokens that an earlier one has published."""
        assert job.attempt is not None
        self._ends.following[job.attempt.name] = job
        self._read(job, primary, Copy(streams=streams, said=said))

    def _read(self, job: Job, primary: Primary, copy: Copy) -> None:
        job.phase = Phase.FOLLOWING
        job.copy = copy
        self._ends.follow(job, primary)

    def step(self, job: Job, copied: Copied, now_us: int) -> None:
        """The log of its primary says something."""
        ends, attempt = self._ends, job.attempt
        if copied is Fate.DETACHED:
            ends.let_go(job, now_us, reason="detached")
            return
        if copied is Fate.VOIDED or copied is Fate.DIVERGED:
            if attempt is not None:
                ends.give_up(job, Ending.VOIDED, now_us)
                ends.following.pop(attempt.name, None)
                job.attempt = None
            if copied is Fate.DIVERGED and job.dispatch.primary is not None and job.copy is not None:
                self.begin(job, job.dispatch.primary, streams=job.copy.streams)
            return
        if attempt is None:
            assert job.copy is not None
            mode = starting_mode(may_have_started=job.may_have_started)
            attempt = ends.start(job, now_us, mode=mode, streams=job.copy.streams)
            ends.following[attempt.name] = job
        if isinstance(copied, Failed | Rejected):
            ends.terminate(job, attempt.repeat(copied, now_us))
            return
        record = attempt.on_output(copied, now_us)
        if record is not None:
            ends.effects.append(ends.teller.answer(job, record))
        if copied.is_last:
            if copied.usage is not None:
                attempt.tokens = max(attempt.tokens, copied.usage.completion_tokens - attempt.continued)
            ends.terminate(job, attempt.end(copied, now_us))
