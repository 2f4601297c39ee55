"""One attempt at a request: what is published for it, from its beginning to its one terminal record.

Tokens are counted from 0. Deltas carry them to requests that stream; for the others `progress` records carry token ids
now and then, so that there is something to go on from, and the terminal record carries the whole answer. Nothing here
knows an engine, a broker or a clock: times are arguments, in microseconds since the epoch by the worker's clock.
"""

from typing import Final

from pipeline.engines.protocol import Output
from pipeline.worker.answers import Collected
from topics.dispatches import Dispatch
from topics.errors import Cancelled, DeadlineExceeded, PipelineError, RequestError
from topics.responses import (
    CancelledRequest,
    Completed,
    Delta,
    ErrorBody,
    Expired,
    Failed,
    Mode,
    Progress,
    Rejected,
    Started,
    TerminalRecord,
    Usage,
)

PROGRESS_TOKENS: Final = 32
"""Tokens per `progress` record."""


class Attempt:
    """One run of a request.

    Args:
        name: the attempt's random id.
        dispatch: what is run.
        streams: whether the request asked for deltas.
        mode: how it begins.
        address: of the dispatch record, `topic/partition/offset`.
        term: of the slot's owner.
        now_us: when it begins.
    """

    __slots__ = (
        "_address",
        "_collected",
        "_kept",
        "_streams",
        "_term",
        "chunks",
        "dispatch",
        "finished_us",
        "first_us",
        "gpu_ns",
        "last_us",
        "mode",
        "name",
        "next_seq",
        "started_us",
        "terminal",
        "tokens",
        "usage",
    )

    def __init__(
        self, *, name: str, dispatch: Dispatch, streams: bool, mode: Mode, address: str, term: int, now_us: int
    ) -> None:
        self.name = name
        self.dispatch = dispatch
        self.mode = mode
        self.started_us = now_us
        self.first_us = 0
        self.last_us = 0
        self.finished_us = 0
        self.next_seq = 0
        """Tokens published."""
        self.tokens = 0
        """Tokens generated."""
        self.chunks = 0
        self.gpu_ns = 0
        self.usage: Usage | None = None
        self.terminal: TerminalRecord | None = None
        self._streams = streams
        self._address = address
        self._term = term
        self._collected = Collected()
        self._kept: list[int] = []

    def started(self) -> Started:
        """The record with which it begins."""
        return Started(
            id=self.dispatch.id,
            origin=self.dispatch.origin,
            attempt=self.name,
            mode=self.mode,
            hop=self.dispatch.hop,
            dispatch=self._address,
            term=self._term,
            deployment=self.dispatch.deployment,
        )

    def on_output(self, output: Output, now_us: int) -> Delta | Progress | None:
        """What the engine added: the record to publish for it, if it is time for one. Not the terminal record."""
        count = len(output.token_ids)
        if count:
            self.tokens += count
            self.first_us = self.first_us or now_us
            self.last_us = now_us
        if output.usage is not None:
            self.usage = output.usage
        self.gpu_ns += output.gpu_ns
        return self._delta(output, count) if self._streams else self._progress(output)

    def end(self, output: Output, now_us: int) -> TerminalRecord:
        """The terminal record for the engine's last output, after `on_output` with it."""
        if output.error is not None:
            return self.fail(output.error, now_us)
        assert output.finish_reason is not None
        self.finished_us = now_us
        usage = self.usage or Usage(prompt_tokens=0, completion_tokens=self.tokens, total_tokens=self.tokens)
        body = None
        if not self._streams:
            body = self._collected.body(
                endpoint=self.dispatch.endpoint,
                request_id=self.dispatch.id,
                model=self.dispatch.model,
                created_s=self.started_us // 1_000_000,
                finish_reason=output.finish_reason,
                usage=usage,
            )
        self.terminal = Completed(
            id=self.dispatch.id,
            origin=self.dispatch.origin,
            attempt=self.name,
            next_seq=self.next_seq,
            usage=usage,
            timing_ms=self._timing_ms(),
            deployment=self.dispatch.deployment,
            finish_reason=output.finish_reason,
            body=body,
            source=self.dispatch.reason if self.dispatch.primary is not None else None,
        )
        return self.terminal

    def repeat(self, ended: Failed | Rejected, now_us: int) -> TerminalRecord:
        """The terminal record of a copy whose primary ended with an error that holds for the copy as well."""
        self.finished_us = now_us
        self.usage = ended.usage
        self.terminal = type(ended)(
            id=self.dispatch.id,
            origin=self.dispatch.origin,
            attempt=self.name,
            next_seq=self.next_seq,
            usage=ended.usage,
            timing_ms=self._timing_ms(),
            error=ended.error,
            deployment=self.dispatch.deployment,
        )
        return self.terminal

    def fail(self, error: PipelineError, now_us: int) -> TerminalRecord:
        """The terminal record for an error: its kind follows from the error's."""
        self.finished_us = now_us
        self.terminal = _kind_of(error)(
            id=self.dispatch.id,
            origin=self.dispatch.origin,
            attempt=self.name,
            next_seq=self.next_seq,
            usage=self.usage,
            timing_ms=self._timing_ms(),
            error=ErrorBody.of(error),
            deployment=self.dispatch.deployment,
        )
        return self.terminal

    def _delta(self, output: Output, count: int) -> Delta | None:
        if not count and not output.text:
            return None
        seq = self.next_seq
        self.next_seq = seq + count
        self.chunks += 1
        return Delta(
            id=self.dispatch.id,
            origin=self.dispatch.origin,
            attempt=self.name,
            seq=seq,
            text=output.text,
            token_ids=output.token_ids,
            logprobs=output.logprobs,
        )

    def _progress(self, output: Output) -> Progress | None:
        self._collected.add(output.text, output.logprobs)
        self._kept += output.token_ids
        if len(self._kept) < PROGRESS_TOKENS or output.is_last:
            return None
        seq, kept = self.next_seq, self._kept
        self.next_seq += len(kept)
        self.chunks += 1
        self._kept = []
        return Progress(id=self.dispatch.id, origin=self.dispatch.origin, attempt=self.name, seq=seq, token_ids=kept)

    def _timing_ms(self) -> dict[str, float]:
        """Milliseconds since the request was produced, of every station that was reached."""
        stations = self.dispatch.stations
        reached = {
            "admitted": stations.admitted_at_us,
            "batched": stations.batched_at_us,
            "dispatched": stations.dispatched_at_us,
            "started": self.started_us,
            "first": self.first_us,
            "last": self.last_us,
            "finished": self.finished_us,
        }
        return {name: (at_us - stations.produced_at_us) / 1000 for name, at_us in reached.items() if at_us}


def _kind_of(error: PipelineError) -> type[Failed] | type[Rejected] | type[Expired] | type[CancelledRequest]:
    if isinstance(error, RequestError):
        return Rejected
    if isinstance(error, DeadlineExceeded):
        return Expired
    if isinstance(error, Cancelled):
        return CancelledRequest
    return Failed
