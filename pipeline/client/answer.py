"""One answer as it arrives: what the reader rule accepted, whether it is over, and whether it is overdue.

Pure: records and the time come in as arguments. It waits for nothing; whoever waits is told by
`on_change`. Times are seconds of one clock, whichever.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from pipeline.client.failures import AnswerTimeout, failure_of
from pipeline.client.timeouts import Limits, Wait
from topics import responses as wire
from topics.errors import PipelineError
from topics.reader import Reader, Verdict
from topics.requests import Cancellation


class Delta(Struct, kw_only=True, frozen=True, gc=False):
    """The next piece of an answer: tokens `seq .. seq + len(token_ids) - 1` and the text that they completed.

    `restarted` marks the one empty piece that says: everything before it is void, the answer begins again at `seq` 0.
    """

    text: str
    token_ids: list[int]
    seq: int
    logprobs: Any = None
    restarted: bool = False

    @property
    def last_seq(self) -> int:
        """`seq` of its last token: what `Client.resume` takes as `after_seq` from a reader who has this piece.

        -1 where the answer begins again.
        """
        return -1 if self.restarted else self.seq + max(len(self.token_ids), 1) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A completed answer.

    Attributes:
        text: the whole text, of the first choice where the request asked for several.
        token_ids: all tokens where the request streamed, else empty.
        body: OpenAI's response object where the request did not stream, else None.
        timing_ms: milliseconds since the request was produced, by station.
        restarts: how often the answer began again.
    """

    id: str
    origin: str
    text: str
    token_ids: list[int]
    finish_reason: wire.FinishReason
    usage: wire.Usage | None
    timing_ms: dict[str, float]
    deployment: str | None
    body: dict[str, Any] | None
    restarts: int


@dataclass(slots=True)
class Cursor:
    """How far someone has read an answer."""

    epoch: int = 0
    index: int = 0


class Answer:
    """What a client knows of one request that it sent.

    The deltas are kept until the answer is dropped, so that any number of readers may go through them, each at its own
    pace: a slow reader holds back nobody and costs nothing but the answer itself, which `max_tokens` bounds. What a
    restart made void is let go at once.

    Args:
        request_id: for messages.
        limits: how long it may take.
        cancellation: what to send when it is given up; None for a request that goes on without a reader.
    """

    __slots__ = (
        "_accepted_at_s",
        "_deltas",
        "_epoch",
        "_has_tokens",
        "_heard_at_s",
        "_limits",
        "_reader",
        "cancellation",
        "error",
        "id",
        "on_change",
        "origin",
        "terminal",
    )

    def __init__(self, *, request_id: str, limits: Limits, cancellation: Cancellation | None = None) -> None:
        self.id = request_id
        self.origin: str | None = None
        self.cancellation = cancellation
        self.terminal: wire.TerminalRecord | None = None
        self.error: PipelineError | None = None
        self.on_change: Callable[[], None] = _nothing
        self._reader = Reader()
        self._deltas: list[Delta] = []
        self._epoch = 0
        self._limits = limits
        self._accepted_at_s = 0.0
        self._heard_at_s = 0.0
        self._has_tokens = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come: it has its terminal record, or was given up."""
        return self.terminal is not None or self.error is not None

    def accept(self, origin: str, now_s: float) -> None:
        """The broker has acknowledged the request at this address."""
        self.origin = origin
        self._accepted_at_s = self._heard_at_s = now_s

    def feed(self, record: wire.Response, now_s: float) -> None:
        """Judge the next record of the response log that has this answer's origin."""
        verdict = self._reader.feed(record)
        if verdict is Verdict.IGNORED or self.error is not None:
            return
        self._heard_at_s = now_s
        if verdict is Verdict.DELIVERED:
            self._has_tokens = True
            if not isinstance(record, wire.Delta):
                return
            self._deltas.append(
                Delta(text=record.text, token_ids=record.token_ids, seq=record.seq, logprobs=record.logprobs)
            )
        elif verdict is Verdict.RESTARTED:
            self._deltas = [Delta(text="", token_ids=[], seq=0, restarted=True)]
            self._epoch += 1
        elif isinstance(record, wire.TerminalRecord):
            self.terminal = record
        self.on_change()

    def fail(self, error: PipelineError) -> None:
        """Give up. Does nothing if it is over."""
        if not self.is_over:
            self.error = error
            self.on_change()

    def unread(self, cursor: Cursor) -> list[Delta]:
        """The deltas after `cursor`, which moves behind them. After a restart: the notice of it and what followed."""
        if cursor.epoch != self._epoch:
            cursor.epoch, cursor.index = self._epoch, 0
        deltas = self._deltas[cursor.index :]
        cursor.index += len(deltas)
        return deltas

    def overdue(self, now_s: float) -> AnswerTimeout | None:
        """Why to give up by now, or None to go on waiting. Meant for answers that are not over."""
        silent_s = now_s - self._heard_at_s
        if now_s - self._accepted_at_s > self._limits.total_s:
            return self._timeout("total_s", self._limits.total_s)
        if not self._has_tokens and silent_s > self._limits.first_token_s:
            return self._timeout("first_token_s", self._limits.first_token_s)
        if self._has_tokens and silent_s > self._limits.idle_s:
            return self._timeout("idle_s", self._limits.idle_s)
        return None

    def result(self) -> Result:
        """The whole answer, once it is over.

        Raises:
            PipelineError: it did not complete; the class says why.
        """
        if self.error is not None:
            raise self.error
        terminal = self.terminal
        assert terminal is not None, "asked for the result of an answer that is not over"
        if not isinstance(terminal, wire.Completed):
            raise failure_of(terminal)
        body = terminal.body
        return Result(
            id=terminal.id,
            origin=terminal.origin,
            text="".join(delta.text for delta in self._deltas) if body is None else _text_of(body),
            token_ids=[token for delta in self._deltas for token in delta.token_ids],
            finish_reason=terminal.finish_reason,
            usage=terminal.usage,
            timing_ms=terminal.timing_ms,
            deployment=terminal.deployment,
            body=body,
            restarts=self._epoch,
        )

    def _timeout(self, wait: Wait, limit_s: float) -> AnswerTimeout:
        return AnswerTimeout(
            f"request {self.id} (origin {self.origin}): {wait} of {limit_s:g} s is over; "
            f"look whether the model's processor and workers run, or raise Timeouts.{wait}"
        )


def _text_of(body: dict[str, Any]) -> str:
    """Text of the first choice of an OpenAI response of either endpoint."""
    first: dict[str, Any] = next(iter(body.get("choices") or ()), {})
    message = first.get("message")
    text = first.get("text") if message is None else message.get("content")
    return text or ""


def _nothing() -> None:
    pass
