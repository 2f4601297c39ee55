"""The pieces of an answer, collected, and the whole OpenAI response body of a request that did not stream.

Nothing is published here.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from topics.answers import response_body
from topics.bodies import Endpoint
from topics.responses import FinishReason, Usage


class Collected:
    """Text and log probabilities of an answer so far."""

    __slots__ = ("_logprobs", "_texts")

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._logprobs: dict[str, list[Any]] | None = None

    def add(self, text: str, logprobs: Any) -> None:
        """The next piece; `logprobs` has OpenAI's shape of the endpoint: an object of lists, or None."""
        if text:
            self._texts.append(text)
        if logprobs:
            self._logprobs = _extended(self._logprobs or {}, logprobs)

    @property
    def text(self) -> str:
        """All pieces as one."""
        return "".join(self._texts)

    def body(
        self,
        *,
        endpoint: Endpoint,
        request_id: str,
        model: str,
        created_s: int,
        finish_reason: FinishReason,
        usage: Usage,
    ) -> msgspec.Raw:
        """The response object as JSON."""
        return response_body(
            endpoint=endpoint,
            request_id=request_id,
            model=model,
            created_s=created_s,
            text=self.text,
            logprobs=self._logprobs,
            finish_reason=finish_reason,
            usage=usage,
        )


def joined_logprobs(pieces: Iterable[Any]) -> dict[str, list[Any]] | None:
    """Log probabilities of pieces that follow on each other, each in OpenAI's shape or None; None if all are."""
    so_far: dict[str, list[Any]] = {}
    for piece in pieces:
        if piece:
            _extended(so_far, piece)
    return so_far or None


def _extended(so_far: dict[str, list[Any]], piece: dict[str, Any]) -> dict[str, list[Any]]:
    for name, values in piece.items():
        so_far.setdefault(name, []).extend(values or ())
    return so_far
