"""The whole OpenAI response of a request that did not stream: `chat.completion` or `text_completion`, made and read."""

from typing import Any, NamedTuple

import msgspec

from topics.bodies import CHAT, Endpoint
from topics.responses import FinishReason, Usage


class Said(NamedTuple):
    """What a response body says. `logprobs` has OpenAI's shape of the endpoint."""

    text: str
    logprobs: Any


def response_body(
    *,
    endpoint: Endpoint,
    request_id: str,
    model: str,
    created_s: int,
    text: str,
    logprobs: Any,
    finish_reason: FinishReason,
    usage: Usage,
) -> msgspec.Raw:
    """The response object as JSON."""
    is_chat = endpoint == CHAT
    content = {"message": {"role": "assistant", "content": text}} if is_chat else {"text": text}
    choice = {"index": 0, **content, "logprobs": logprobs, "finish_reason": finish_reason}
    return msgspec.Raw(
        msgspec.json.encode(
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


def said_in(body: Any) -> Said:
    """The text of a parsed response object; empty where there is none."""
    choice = (body or {}).get("choices", [{}])[0]
    text = choice["text"] if "text" in choice else choice.get("message", {}).get("content")
    return Said(text or "", choice.get("logprobs"))


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
