"""The reader rule: which records of a response log count.

Several attempts of one request may lie in the log, some of them of workers that no longer own the request. Everyone who
reads it - clients, workers that take over, the recorder, tests - feeds the records of one request (one `origin`) in log
order to a `Reader` and believes only what it accepts. The rule needs no clock and no coordination: the order of the log
decides. It holds no tokens; who wants them keeps what was accepted.

Source: the rule was checked as a model over random interleavings of double dispatches, stalls, crashes and lost
deliveries; `tests/properties/test_takeover.py` repeats that on this code.
"""

from enum import Enum
from typing import NamedTuple

from topics.responses import Delta, Progress, Response, Started


class Verdict(Enum):
    """What a record did to the answer."""

    IGNORED = "ignored"
    """Belongs to an attempt that does not count, or repeats what is known."""
    STARTED = "started"
    """A new attempt is current and continues the tokens so far."""
    RESTARTED = "restarted"
    """A new attempt is current and all tokens so far are void."""
    DELIVERED = "delivered"
    """The record's tokens are the next ones of the answer."""
    ENDED = "ended"
    """The request has its one terminal record."""


class Position(NamedTuple):
    """The current attempt: which dispatch of the request it runs, and under which term of the slot's owner."""

    hop: int
    dispatch: str
    term: int
    attempt: str


class Reader:
    """The rule, for one request.

    Attributes:
        current: the attempt that counts, None before the first.
        next_seq: tokens accepted so far, which is the `seq` of the next.
        has_ended: whether the terminal record was accepted; nothing is accepted after it.
    """

    __slots__ = ("current", "has_ended", "next_seq")

    def __init__(self) -> None:
        self.current: Position | None = None
        self.next_seq = 0
        self.has_ended = False

    def feed(self, record: Response) -> Verdict:
        """Judge the next record of the log. Records must come in log order; the answer is a fact, never revised."""
        if self.has_ended:
            return Verdict.IGNORED
        if isinstance(record, Delta | Progress):
            return self._on_tokens(record)
        if isinstance(record, Started):
            return self._on_started(record)
        return self._on_terminal(record.attempt, record.next_seq)

    def _on_tokens(self, record: Delta | Progress) -> Verdict:
        current = self.current
        if current is None or record.attempt != current.attempt or record.seq != self.next_seq:
            return Verdict.IGNORED
        self.next_seq += len(record.token_ids)
        return Verdict.DELIVERED

    def _on_started(self, record: Started) -> Verdict:
        if not self._takes_over(record):
            return Verdict.IGNORED
        voids = record.mode == "restart" and self.current is not None
        self.current = Position(record.hop, record.dispatch, record.term, record.attempt)
        if voids:
            self.next_seq = 0
        return Verdict.RESTARTED if voids else Verdict.STARTED

    def _takes_over(self, record: Started) -> bool:
        current = self.current
        if current is None:
            return True
        if record.mode == "fresh":
            return False
        if record.hop != current.hop:
            return record.hop > current.hop
        return record.dispatch == current.dispatch and record.term >= current.term

    def _on_terminal(self, attempt: str | None, next_seq: int) -> Verdict:
        current = self.current
        if attempt is None:
            counts = current is None
        else:
            counts = current is not None and attempt == current.attempt and next_seq == self.next_seq
        if not counts:
            return Verdict.IGNORED
        self.has_ended = True
        return Verdict.ENDED
