"""After an engine died: what it ran goes one at a time, until each has ended or outlived the point of the death.

A request that kills engines is found that way, and costs its neighbours one attempt. Nothing else begins meanwhile.
"""

from collections import deque
from typing import Final

from pipeline.worker.jobs import Job, Phase

SURVIVED_TOKENS: Final = 8
"""Tokens beyond the length at which the engine died, after which a suspect is trusted."""


class Quarantine:
    """Suspects in the order in which they ran, and the one that is on trial."""

    def __init__(self) -> None:
        self._suspects: deque[Job] = deque()
        self._trial: Job | None = None
        self._moved = False

    @property
    def is_open(self) -> bool:
        """Whether nothing but suspects may begin."""
        return self._trial is not None or bool(self._suspects)

    def add(self, job: Job) -> None:
        """A job ran when the engine died, or has attempts behind it that ended nowhere."""
        self._suspects.append(job)

    def is_on_trial(self, job: Job) -> bool:
        """Whether nothing but this job may have begun since it did."""
        return job is self._trial

    def next_on_trial(self) -> Job | None:
        """The next suspect, which is on trial from now on; None while one is, or when there is none."""
        while self._trial is None and self._suspects:
            suspect = self._suspects.popleft()
            if suspect.phase is Phase.WAITING:
                self._trial = suspect
                return suspect
        return None

    def on_end(self, job: Job) -> None:
        """A job has ended or been given up; any job may be named."""
        if job is self._trial:
            self._trial = None
            self._moved = True

    def advance(self) -> bool:
        """Whether the next may begin: since the call before a trial has ended, or the suspect has survived."""
        if self._trial is not None and _survived(self._trial):
            self.on_end(self._trial)
        moved, self._moved = self._moved, False
        return moved

    def __len__(self) -> int:
        return sum(job.phase is Phase.WAITING for job in self._suspects)


def _survived(job: Job) -> bool:
    return job.attempt is not None and job.attempt.length >= job.tokens_at_death + SURVIVED_TOKENS
