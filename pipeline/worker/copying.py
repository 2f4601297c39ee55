"""Copying an answer: what the log says about a primary, as the next step of the copy. Pure.

The log is judged by the reader rule, so whatever happens to the primary - deaths of its workers, hand-backs, restarts -
the copy is of what counts. Each copy is an answer of its own, with its own attempt, origin and id.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Literal

from pipeline.engines.protocol import Output
from pipeline.worker.watching import Gap
from topics.answers import said_in
from topics.reader import Reader, Verdict
from topics.responses import CancelledRequest, Completed, Delta, Expired, Failed, Progress, Rejected, Response, Started


class Fate(Enum):
    """What becomes of a copy, other than more tokens or its end."""

    VOIDED = "voided"
    """The primary began again: what was copied is void."""
    DETACHED = "detached"
    """There will be no answer that can be shared, or its beginning is not in the log any more."""
    DIVERGED = "diverged"
    """What was said of the copy before is not how the primary's answer begins: it has to be copied anew."""


Copied = Output | Failed | Rejected | Literal[Fate.VOIDED, Fate.DETACHED, Fate.DIVERGED]


class Copy:
    """One sender's copy of a primary's answer.

    Args:
        streams: whether the sender of the copy wants deltas. Where the primary does not stream, its text is only known
            at the end, and of its last tokens the ids are not in the log: the copy has one delta with what there is.
        said: tokens that an earlier attempt at the copy has published; they are not told again.
    """

    __slots__ = ("_held", "_reader", "_said", "_skipped", "streams")

    def __init__(self, *, streams: bool, said: Sequence[int] = ()) -> None:
        self.streams = streams
        self._reader = Reader()
        self._held: list[int] = []
        self._said = said
        self._skipped = 0

    def feed(self, record: Response | Gap) -> Copied | None:
        """The next record of the primary in log order: what follows for the copy, if anything.

        `Gap.CUT`, before all others: records may be missing, and what is left may count for nobody who had them.
        """
        if isinstance(record, Gap):
            return Fate.DETACHED
        copied = self._copied(record)
        if self._skipped == len(self._said) or copied is None or copied is Fate.DETACHED:
            return copied
        return self._unsaid(copied) if isinstance(copied, Output) else Fate.DIVERGED

    def _unsaid(self, output: Output) -> Copied | None:
        """What of an output was not said before. Who does not stream was told tokens only, and gets all text."""
        told = self._said[self._skipped : self._skipped + len(output.token_ids)]
        self._skipped += len(told)
        is_short = output.is_last and self._skipped < len(self._said)
        if list(told) != output.token_ids[: len(told)] or is_short:
            return Fate.DIVERGED
        if not self.streams:
            output.token_ids = output.token_ids[len(told) :]
            return output
        if len(told) < len(output.token_ids):
            return Fate.DIVERGED
        output.token_ids, output.text, output.logprobs = [], "", None
        return output if output.is_last else None

    def _copied(self, record: Response) -> Copied | None:
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
