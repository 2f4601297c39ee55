"""Bodies as token ids: the model's chat template and tokenizer.

The mapping of messages is pure; `Prompts` adds a tokenizer, one of its own, so that it may work in another thread than
the one that detokenizes.
"""

import json
from typing import Any, Protocol

from topics.bodies import Body, ChatBody, Message
from topics.errors import InvalidRequest, Unsupported

_TEXT_PARTS = ("text", "input_text", "refusal")


class Tokenizer(Protocol):
    """What is used of a Hugging Face tokenizer."""

    chat_template: Any

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...

    def apply_chat_template(self, conversation: Any, *, tokenize: bool, add_generation_prompt: bool) -> Any: ...


class Prompts:
    """Turns bodies into prompts of token ids.

    Args:
        tokenizer: used by no other thread while a method runs.
        vocabulary: number of token ids that the model knows.
        refusals: what a chat template raises when it refuses messages.
    """

    def __init__(self, tokenizer: Tokenizer, *, vocabulary: int, refusals: tuple[type[Exception], ...]) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._refusals = refusals

    def token_ids(self, body: Body) -> list[int]:
        """The prompt; may be empty.

        Raises:
            InvalidRequest: a token id outside the vocabulary, or messages that the chat template refuses.
            Unsupported: content that is no text, or a chat with a model that has no chat template.
        """
        if isinstance(body, ChatBody):
            return self._tokenizer.encode(self._chat_text(body), add_special_tokens=False)
        if isinstance(body.prompt, str):
            return self._tokenizer.encode(body.prompt, add_special_tokens=True)
        foreign = next((token for token in body.prompt if not 0 <= token < self._vocabulary), None)
        if foreign is not None:
            raise InvalidRequest(
                f"prompt has the token id {foreign}; the model's ids are 0 to {self._vocabulary - 1}",
                param="body.prompt",
            )
        return body.prompt

    def _chat_text(self, body: ChatBody) -> str:
        if self._tokenizer.chat_template is None:
            raise Unsupported("the model has no chat template; use /v1/completions", param="body.messages")
        messages = [template_message(message) for message in body.messages]
        try:
            text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except self._refusals as error:
            message = f"the model's chat template refuses the messages: {error}"
            raise InvalidRequest(message, param="body.messages") from error
        return str(text)


def template_message(message: Message) -> dict[str, Any]:
    """A message as chat templates expect it: text content, arguments of tool calls as objects.

    Raises:
        InvalidRequest: the arguments of a tool call are no JSON.
        Unsupported: a content part is no text.
    """
    # Templates know OpenAI's older name of the role.
    role = "system" if message.role == "developer" else message.role
    rendered: dict[str, Any] = {"role": role, "content": _text_of(message.content)}
    if message.name is not None:
        rendered["name"] = message.name
    if message.tool_call_id is not None:
        rendered["tool_call_id"] = message.tool_call_id
    if message.tool_calls is not None:
        rendered["tool_calls"] = [_tool_call(call) for call in message.tool_calls]
    return rendered


def _text_of(content: str | list[dict[str, Any]] | None) -> str:
    if not isinstance(content, list):
        return content or ""
    return "\n".join(_text_of_part(part) for part in content)


def _text_of_part(part: dict[str, Any]) -> str:
    kind = part.get("type", "text")
    if kind not in _TEXT_PARTS:
        raise Unsupported(
            f"a content part has type {kind!r}; this model reads text parts only", param="body.messages.content"
        )
    text = part.get("refusal" if kind == "refusal" else "text")
    if not isinstance(text, str):
        raise InvalidRequest(f"a content part of type {kind!r} has no text", param="body.messages.content")
    return text


def _tool_call(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return call
    try:
        arguments = json.loads(function["arguments"] or "{}")
    except ValueError as error:
        raise InvalidRequest(
            f"arguments of a tool call are no JSON: {error}", param="body.messages.tool_calls"
        ) from error
    return {**call, "function": {**function, "arguments": arguments}}
