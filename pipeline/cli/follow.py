"""Following one request through the response topics: what each of its records is, and whether the reader rule takes it.

Pure: records come in as values.
"""

from dataclasses import dataclass
from typing import Literal

from topics.names import model_of_origin
from topics.reader import Reader, Verdict
from topics.responses import Delta, Progress, Response, Started, outcome_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One record of the request.

    Attributes:
        record: its address, `topic/partition/offset`.
        at_ms: broker time in milliseconds since the epoch.
        origin: which request it belongs to; a reused id has several.
        verdict: what the reader rule made of it.
        detail: what it says, in a few words.
        why: why it was ignored, empty if it was not.
    """

    record: str
    at_ms: int
    origin: str
    type: str
    attempt: str
    verdict: Literal["started", "restarted", "delivered", "ended", "ignored"]
    detail: str
    why: str = ""

    @property
    def is_accepted(self) -> bool:
        """Whether it counts."""
        return self.verdict != "ignored"


class Follower:
    """The records of one id, each judged in log order.

    Args:
        model: only requests to this model, None for any.
    """

    def __init__(self, model: str | None) -> None:
        self._model = model
        self._readers: dict[str, Reader] = {}

    @property
    def has_ended(self) -> bool:
        """Whether something was seen and all of it has ended."""
        return bool(self._readers) and all(reader.has_ended for reader in self._readers.values())

    def feed(self, response: Response, *, record: str, at_ms: int) -> Judged | None:
        """Judge the next record of the id; None for one of another model's request."""
        if self._model is not None and model_of_origin(response.origin) != self._model:
            return None
        reader = self._readers.setdefault(response.origin, Reader())
        why = why_ignored(reader, response)
        verdict = reader.feed(response)
        return Judged(
            record=record,
            at_ms=at_ms,
            origin=response.origin,
            type=type_of(response),
            attempt=response.attempt or "",
            verdict=verdict.value,
            detail=detail_of(response),
            why=why if verdict is Verdict.IGNORED else "",
        )


def type_of(response: Response) -> str:
    """The record's `type` on the wire."""
    return str(response.__struct_config__.tag)


def detail_of(response: Response) -> str:
    """What a record says, in a few words."""
    if isinstance(response, Started):
        return f"{response.mode} on {response.deployment}, hop {response.hop}, term {response.term}"
    if isinstance(response, Delta):
        return f"{_tokens(response.seq, len(response.token_ids))} {response.text!r}"
    if isinstance(response, Progress):
        return _tokens(response.seq, len(response.token_ids))
    if response.error is not None:
        return f"{response.error.code}: {response.error.message}"
    usage = response.usage
    counted = f", {usage.prompt_tokens} tokens in, {usage.completion_tokens} out" if usage else ""
    return f"{getattr(response, 'finish_reason', outcome_of(response))}{counted}"


def why_ignored(reader: Reader, response: Response) -> str:
    """Why a reader in this state would ignore the record; meaningless where it accepts it."""
    current = reader.current
    if reader.has_ended:
        return "the request has ended"
    if isinstance(response, Started):
        return f"attempt {current.attempt} is current" if current else ""
    if response.attempt is None:
        return "an attempt has started"
    if current is None:
        return "no attempt has started"
    if response.attempt != current.attempt:
        return f"attempt {current.attempt} is current"
    return f"token {reader.next_seq} is the next"


def _tokens(seq: int, count: int) -> str:
    return f"token {seq}" if count == 1 else f"tokens {seq}..{seq + count - 1}" if count else "no token"
