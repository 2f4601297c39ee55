"""What the log tells about earlier attempts at a request: whether it may be the one that takes processes with it. Pure.

An engine that dies alone is noticed by its worker (`pipeline.worker.quarantine`). Where the worker dies with it - an
engine in the same process, a kernel that is out of memory - only attempts without an end are left in the log. Workers
also die for reasons of their own and slots move, so such an attempt alone says little. A request with several in a row
that came to nothing runs alone, which its `started` records tell as `trial`; after several of these it is not tried
again. A worker that lets go of an attempt alive says so with a `progress` record without tokens, and any record of an
attempt that comes too late to count shows the same.
"""

from enum import StrEnum
from typing import Final

from topics.reader import Verdict
from topics.responses import Delta, Progress, Response, Started

FRUITFUL_TOKENS: Final = 8
"""An attempt that added so many tokens was not killed by its request: that would have happened where the ones before it
ended."""
SUSPECT_LIVES: Final = 3
"""Workers in a row that came to nothing with one dispatch, from which on the next attempt is a trial."""
FATAL_TRIALS: Final = 3


class Standing(StrEnum):
    """How the next attempt is to be made."""

    CLEAR = "clear"
    SUSPECT = "suspect"
    """Alone."""
    CONVICTED = "convicted"
    """Not at all."""


class History:
    """Lives of workers that a request has outlived, fed with its records in log order.

    What counts are those at its newest dispatch: one that is dispatched again was handed back by a worker that lived.
    Attempts under one term were made by one worker, which knows itself what its engine died of.
    """

    __slots__ = ("_dispatch", "_fruitless", "_terms", "_tokens", "_trials")

    def __init__(self) -> None:
        self._dispatch = ""
        self._terms: dict[str, int] = {}
        self._fruitless: set[int] = set()
        self._trials: set[int] = set()
        self._tokens = 0

    def feed(self, record: Response, verdict: Verdict) -> None:
        """A record, and what the reader rule made of it."""
        if isinstance(record, Started):
            if verdict in (Verdict.STARTED, Verdict.RESTARTED):
                self._begin(record)
        elif verdict is Verdict.IGNORED or (isinstance(record, Progress) and not record.token_ids):
            self._acquit(record.attempt)
        elif isinstance(record, Delta | Progress):
            self._tokens += len(record.token_ids)
            if self._tokens >= FRUITFUL_TOKENS:
                self._fruitless.clear()
                self._trials.clear()

    def standing(self, dispatch: str, term: int) -> Standing:
        """How to go on with a request that has not ended.

        Args:
            dispatch: address of the dispatch at hand.
            term: of its slot's owner, who asks.
        """
        if dispatch != self._dispatch:
            return Standing.CLEAR
        trials = len(self._trials - {term})
        if trials >= FATAL_TRIALS:
            return Standing.CONVICTED
        if trials or len(self._fruitless - {term}) >= SUSPECT_LIVES:
            return Standing.SUSPECT
        return Standing.CLEAR

    def _begin(self, record: Started) -> None:
        if record.dispatch != self._dispatch:
            self._dispatch = record.dispatch
            for known in (self._terms, self._fruitless, self._trials):
                known.clear()
        self._terms[record.attempt] = record.term
        self._fruitless.add(record.term)
        if record.on_trial:
            self._trials.add(record.term)
        self._tokens = 0

    def _acquit(self, attempt: str | None) -> None:
        """The worker of an attempt has outlived it."""
        term = self._terms.get(attempt or "")
        if term is not None:
            self._fruitless.discard(term)
            self._trials.discard(term)
