"""Taking over an answer: what the log says about a request before the own `started` record, as a verdict. Pure.

The own record is the barrier: the log's order decides who wrote before and who after it, and what a reader of the log
has accepted up to it is what the attempt goes on after. Records behind it are of no concern, whatever they are: either
nobody accepts them, or nobody accepts the own ones.

Source: the protocol was checked as a model over random interleavings of owners, stalls, crashes and lost deliveries.
"""

from enum import Enum

from msgspec import Struct

from pipeline.worker.history import History
from pipeline.worker.watching import Gap
from topics.reader import Reader, Verdict
from topics.responses import Delta, Progress, Response, Started, Terminal, TerminalRecord


class Fate(Enum):
    """What a taken-over request is to do."""

    GOES_ON = "goes_on"
    """The own attempt is current: go on after the accepted tokens."""
    IS_CUT = "is_cut"
    """The beginning of the answer is not in the log any more: start over."""
    SUPERSEDED = "superseded"
    """Another attempt is current: there is nothing to do."""
    ENDED = "ended"
    """The request has its terminal record: there is nothing to do."""


class Ended(Struct, kw_only=True, frozen=True):
    """The attempt that ended the request: how it began, what it added to the answer, and its terminal record."""

    started: Started
    terminal: TerminalRecord
    tokens: int
    chunks: int


class Resume:
    """The log of one request, read up to the own `started` record.

    Args:
        attempt: name of the own attempt.

    Attributes:
        tokens: ids of the accepted tokens so far.
        ended: the attempt that ended the request; None while it has not ended, or if it was no attempt that did.
        history: of the attempts before.
    """

    __slots__ = (
        "_attempt",
        "_chunks",
        "_is_cut",
        "_reader",
        "_seq_at_start",
        "_started",
        "ended",
        "history",
        "tokens",
    )

    def __init__(self, attempt: str) -> None:
        self.tokens: list[int] = []
        self.ended: Ended | None = None
        self.history = History()
        self._attempt = attempt
        self._reader = Reader()
        self._started: Started | None = None
        self._seq_at_start = 0
        self._chunks = 0
        self._is_cut = False

    def feed(self, record: Response | Gap) -> Fate | None:
        """The next record of the request in log order: the verdict, once it is known.

        `Gap.CUT`, before all others: records may be missing that the log held.
        """
        if isinstance(record, Gap):
            self._is_cut = True
            return None
        verdict = self._reader.feed(record)
        if record.attempt != self._attempt:
            self.history.feed(record, verdict)
        if isinstance(record, Started):
            return self._on_started(record, verdict)
        if isinstance(record, Terminal):
            return self._on_end(record) if verdict is Verdict.ENDED and not self._is_cut else None
        if verdict is Verdict.DELIVERED:
            self.tokens += record.token_ids
            self._chunks += 1
        elif self._misses(record):
            self._is_cut = True
        return None

    def _on_started(self, record: Started, verdict: Verdict) -> Fate | None:
        if verdict is Verdict.RESTARTED:
            self.tokens.clear()
        if verdict is not Verdict.IGNORED:
            self._started, self._seq_at_start, self._chunks = record, self._reader.next_seq, 0
        if record.attempt != self._attempt:
            return None
        if self._is_cut:
            # What is left of the log may count for nobody who has read all of it, whoever begins or ends in it: a
            # beginning that is ignored there is current here. Who starts over is right whatever was before.
            self.tokens.clear()
            return Fate.GOES_ON if record.mode == "restart" else Fate.IS_CUT
        return Fate.SUPERSEDED if verdict is Verdict.IGNORED else Fate.GOES_ON

    def _on_end(self, terminal: TerminalRecord) -> Fate:
        if self._started is not None and terminal.attempt is not None:
            tokens = max(_generated(terminal), self._reader.next_seq) - self._seq_at_start
            self.ended = Ended(started=self._started, terminal=terminal, tokens=tokens, chunks=self._chunks)
        return Fate.ENDED

    def _misses(self, record: Delta | Progress) -> bool:
        """Whether a record that is not accepted shows that earlier ones are missing."""
        current = self._reader.current
        if self._reader.has_ended or not record.token_ids:  # an owner that gave the attempt up says so, with no tokens
            return False
        return current is None or (record.attempt == current.attempt and record.seq > self._reader.next_seq)


def _generated(terminal: TerminalRecord) -> int:
    """Tokens of the whole answer; those of a request that does not stream are not all published."""
    return terminal.usage.completion_tokens if terminal.usage is not None else 0
