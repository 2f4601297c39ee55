"""The whole OpenAI response body of a request that did not stream.

Streamed pieces are collected and put into `chat.completion` or `text_completion` at the end. Nothing is published here.
"""

from typing import Any

import msgspec
import orjson

from topics.bodies import CHAT, Endpoint
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
            self._logprobs = _joined(self._logprobs or {}, logprobs)

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
        text = "".join(self._texts)
        is_chat = endpoint == CHAT
        content = {"message": {"role": "assistant", "content": text}} if is_chat else {"text": text}
        choice = {"index": 0, **content, "logprobs": self._logprobs, "finish_reason": finish_reason}
        return msgspec.Raw(
            orjson.dumps(
                {
                    "id": f"{'chatcmpl' if is_chat else 'cmpl'}-{request_id}",
                    "object": "chat.completion" if is_chat else "text_completion",
                    "created": created_s,
                    "model": model,
                    "choices": [choice],
                    "usage": _usage(usage),
                }
            )
        )


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def _joined(so_far: dict[str, list[Any]], piece: dict[str, Any]) -> dict[str, list[Any]]:
    for name, values in piece.items():
        so_far.setdefault(name, []).extend(values or ())
    return so_far
