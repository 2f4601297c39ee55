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
from topics.dispatches import Told
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
    """The attempt that ended the request: how it began, what it added to what was told, and its terminal record."""

    started: Started
    terminal: TerminalRecord
    tokens: int
    chunks: int
    told: Told | None = None
    text: str = ""
    """Of a stream."""


class Resume:
    """The log of one request, read up to the own `started` record.

    Args:
        attempt: name of the own attempt.
        hop: of its dispatch.
        before: what the dispatch says that earlier hops have told. They know when their first token was made; of
            requests that do not stream the log tells it with up to `PROGRESS_TOKENS` others.

    Attributes:
        tokens: ids of the accepted tokens so far.
        ended: the attempt that ended the request; None while it has not ended, or if it was no attempt that did.
        history: of the attempts before.
    """

    __slots__ = (
        "_attempt",
        "_before",
        "_chunks",
        "_first_at_us",
        "_hop",
        "_is_cut",
        "_last_at_us",
        "_reader",
        "_seq_at_start",
        "_started",
        "_texts",
        "_told_at_start",
        "ended",
        "history",
        "tokens",
    )

    def __init__(self, attempt: str, *, hop: int = 0, before: Told | None = None) -> None:
        self.tokens: list[int] = []
        self.ended: Ended | None = None
        self.history = History()
        self._attempt = attempt
        self._hop = hop
        self._before = before
        self._reader = Reader()
        self._started: Started | None = None
        self._seq_at_start = 0
        self._told_at_start: Told | None = None
        self._texts: list[str] = []
        self._chunks = 0
        self._first_at_us = 0
        self._last_at_us = 0
        self._is_cut = False

    @property
    def told(self) -> Told | None:
        """What was told of the answer that goes on: the accepted tokens. None where there are none."""
        if not self.tokens:
            return None
        return Told(tokens=len(self.tokens), first_at_us=self._first_at_us, last_at_us=self._last_at_us)

    @property
    def text(self) -> str:
        """What is told of the answer that goes on, as far as it is told in pieces: of a stream."""
        return "".join(self._texts)

    def feed(self, record: Response | Gap, at_ms: int = 0) -> Fate | None:
        """The next record of the request in log order, of this broker time: the verdict, once it is known.

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
            self._deliver(record, at_ms * 1000)
        elif self._misses(record):
            self._is_cut = True
        return None

    def _deliver(self, record: Delta | Progress, at_us: int) -> None:
        self._chunks += 1
        if isinstance(record, Delta):
            self._texts.append(record.text)
        if not record.token_ids:
            return
        if not self.tokens:
            self._first_at_us = self._first_by_hops_before(at_us)
        self._last_at_us = at_us
        self.tokens += record.token_ids

    def _first_by_hops_before(self, at_us: int) -> int:
        current, before = self._reader.current, self._before
        is_theirs = before is not None and current is not None and current.hop < self._hop
        return before.first_at_us if before is not None and is_theirs else at_us

    def _on_started(self, record: Started, verdict: Verdict) -> Fate | None:
        if verdict is Verdict.RESTARTED:
            self._void()
        if verdict is not Verdict.IGNORED:
            self._started, self._seq_at_start, self._chunks = record, self._reader.next_seq, 0
            self._told_at_start = self.told
        if record.attempt != self._attempt:
            return None
        if self._is_cut:
            # What is left of the log may count for nobody who has read all of it, whoever begins or ends in it: a
            # beginning that is ignored there is current here. Who starts over is right whatever was before.
            self._void()
            return Fate.GOES_ON if record.mode == "restart" else Fate.IS_CUT
        return Fate.SUPERSEDED if verdict is Verdict.IGNORED else Fate.GOES_ON

    def _void(self) -> None:
        """What was told of the answer counts no more."""
        self.tokens.clear()
        self._texts.clear()

    def _on_end(self, terminal: TerminalRecord) -> Fate:
        if self._started is not None and terminal.attempt is not None:
            tokens = max(_generated(terminal), self._reader.next_seq) - self._seq_at_start
            self.ended = Ended(
                started=self._started,
                terminal=terminal,
                tokens=tokens,
                chunks=self._chunks,
                told=self._told_at_start,
                text=self.text,
            )
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
