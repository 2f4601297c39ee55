"""Copying an answer: what the log says about a primary, as the next step of the copy. Pure.

The log is judged by the reader rule, so whatever happens to the primary - deaths of its workers, hand-backs, restarts -
the copy is of what counts. Each copy is an answer of its own, with its own attempt, origin and id.
"""

from enum import Enum
from typing import Literal

from pipeline.engines.protocol import Output
from topics.answers import said_in
from topics.reader import Reader, Verdict
from topics.responses import CancelledRequest, Completed, Delta, Expired, Failed, Progress, Rejected, Response, Started


class Fate(Enum):
    """What becomes of a copy, other than more tokens or its end."""

    VOIDED = "voided"
    """The primary began again: what was copied is void."""
    DETACHED = "detached"
    """There will be no answer that can be shared, or its beginning is not in the log any more."""


Copied = Output | Failed | Rejected | Literal[Fate.VOIDED, Fate.DETACHED]


class Copy:
    """One sender's copy of a primary's answer.

    Args:
        streams: whether the sender of the copy wants deltas. Where the primary does not stream, its text is only known
            at the end, and of its last tokens the ids are not in the log: the copy has one delta with what there is.
    """

    __slots__ = ("_held", "_reader", "streams")

    def __init__(self, *, streams: bool) -> None:
        self.streams = streams
        self._reader = Reader()
        self._held: list[int] = []

    def feed(self, record: Response) -> Copied | None:
        """The next record of the primary in log order: what follows for the copy, if anything."""
        verdict = self._reader.feed(record)
        if verdict is Verdict.IGNORED:
            return self._missed(record)
        if verdict is Verdict.RESTARTED:
            self._held.clear()
            return Fate.VOIDED
        if isinstance(record, Started):
            return None
        if isinstance(record, Delta):
            return Output(key="", text=record.text, token_ids=record.token_ids, logprobs=record.logprobs)
        if isinstance(record, Progress):
            return self._progress(record)
        return self._end(record)

    def _missed(self, record: Response) -> Copied | None:
        """Records of an answer of which no beginning was seen: retention has cut it off."""
        is_cut = self._reader.current is None and not self._reader.has_ended and not isinstance(record, Started)
        return Fate.DETACHED if is_cut else None

    def _progress(self, record: Progress) -> Output | None:
        if self.streams:
            self._held += record.token_ids
            return None
        return Output(key="", token_ids=record.token_ids)

    def _end(self, record: Completed | Failed | Rejected | Expired | CancelledRequest) -> Copied:
        if isinstance(record, Expired | CancelledRequest):
            return Fate.DETACHED
        if not isinstance(record, Completed):
            return record
        text, logprobs = said_in(record.body)
        return Output(
            key="",
            text=text,
            token_ids=self._held,
            logprobs=logprobs,
            finish_reason=record.finish_reason,
            usage=record.usage,
        )
