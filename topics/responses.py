"""What a reader of a response topic gets, keyed by the request id.

An answer is told by attempts. Each begins with `started`, goes on with `delta` (for requests that stream) or `progress`
(for those that do not) and ends with one terminal record. Which of the records count is the reader rule's business
(`topics.reader`). Every record carries `origin`, the address of the request on its lane: two requests of one id differ
in it.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from topics.errors import PipelineError
from topics.requests import wire_version

Count = Annotated[int, Meta(ge=0)]
Mode = Literal["fresh", "resume", "restart"]
FinishReason = Literal["stop", "length"]


class Started(Struct, kw_only=True, frozen=True, omit_defaults=True, tag_field="type", tag="started"):
    """An attempt begins. `dispatch` is the address of its dispatch record, `term` the offset of the owner's marker.

    `restart` voids the tokens so far: the engine could not continue them. `trial`: engines or workers died under its
    predecessors, so that nothing else begins beside this one until it has ended or got further than they did.
    """

    id: str
    origin: str
    attempt: str
    mode: Mode
    hop: Count
    dispatch: str
    term: int
    deployment: str
    on_trial: bool = msgspec.field(name="trial", default=False)
    v: int = msgspec.field(default_factory=wire_version)


class Delta(Struct, kw_only=True, frozen=True, omit_defaults=True, tag_field="type", tag="delta"):
    """Tokens `seq .. seq + len(token_ids) - 1` of the answer and the text they completed.

    `text` may be empty (a character or a possible stop string is not complete yet), and a last piece of text may come
    without tokens. `logprobs` has OpenAI's shape of the endpoint.
    """

    id: str
    origin: str
    attempt: str
    seq: Count
    text: str
    token_ids: list[int]
    logprobs: Any = None
    v: int = msgspec.field(default_factory=wire_version)


class Progress(Struct, kw_only=True, frozen=True, omit_defaults=True, tag_field="type", tag="progress"):
    """Tokens of a request that does not stream, from `seq` on: there to resume from, not to be shown.

    One without tokens says that its worker has given the attempt up and lives.
    """

    id: str
    origin: str
    attempt: str
    seq: Count
    token_ids: list[int]
    v: int = msgspec.field(default_factory=wire_version)


class Usage(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Tokens, counted over all attempts of the answer."""

    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count
    cached_tokens: Count = 0


class ErrorBody(Struct, kw_only=True, frozen=True):
    """Why a request did not complete: OpenAI's fields, and whether sending it again can help."""

    message: str
    type: str
    param: str | None
    code: str
    retryable: bool = False
    retry_after_s: float | None = None

    @classmethod
    def of(cls, error: PipelineError) -> "ErrorBody":
        """The wire form of an error of the tree in `topics.errors`."""
        return cls(
            message=error.message,
            type=type(error).__name__,
            param=error.param,
            code=error.code,
            retryable=error.retryable,
            retry_after_s=error.retry_after_s,
        )


class Terminal(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What every terminal record has. `attempt` is absent where a processor ended the request.

    `next_seq` is the number of tokens published by `delta` or `progress` records before it: a reader that has fewer has
    missed some. `timing_ms` are milliseconds since the request was produced, by station.
    """

    id: str
    origin: str
    attempt: str | None = None
    next_seq: Count = 0
    usage: Usage | None = None
    timing_ms: dict[str, float] = {}
    error: ErrorBody | None = None
    deployment: str | None = None
    v: int = msgspec.field(default_factory=wire_version)


class Completed(Terminal, kw_only=True, frozen=True, omit_defaults=True, tag_field="type", tag="completed"):
    """Answered. `body` is the whole OpenAI response where the request did not stream.

    A writer may give it as `msgspec.Raw`; a reader gets the parsed object (msgspec cannot decode `Raw | None`).
    `source` is absent where the answer was generated for this request, and says otherwise where it comes from:
    `coalesced` (an identical request in flight), `attached` (the same id sent again) or `cache`. `usage` is the
    generation's in any case.
    """

    finish_reason: FinishReason
    body: Any = None
    source: str | None = None


class Failed(Terminal, kw_only=True, frozen=True, omit_defaults=True, tag_field="type", tag="failed"):
    """The engine tried and could not."""


class Rejected(Terminal, kw_only=True, frozen=True, omit_defaults=True, tag_field="type", tag="rejected"):
    """Turned away before it was queued, or found invalid by the worker before a token was made."""


class Expired(Terminal, kw_only=True, frozen=True, omit_defaults=True, tag_field="type", tag="expired"):
    """Queued, and then its deadline passed."""


class CancelledRequest(Terminal, kw_only=True, frozen=True, omit_defaults=True, tag_field="type", tag="cancelled"):
    """Ended because its sender asked for it."""


TerminalRecord = Completed | Failed | Rejected | Expired | CancelledRequest
Response = Started | Delta | Progress | TerminalRecord


def outcome_of(record: TerminalRecord) -> str:
    """The terminal's `type`, the label of the outcome in SQL: completed, failed, rejected, expired or cancelled."""
    return str(record.__struct_config__.tag)
