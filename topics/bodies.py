"""Request bodies in OpenAI's shape, validated on decoding.

Two endpoints are served: chat completions and completions. Fields that neither Millrace nor an engine knows are
ignored, as OpenAI-compatible servers do. Beside OpenAI's own fields the sampling fields of vLLM's server are understood
(`min_tokens`, `ignore_eos`, `top_k`, `min_p`, `repetition_penalty`, `stop_token_ids`, `skip_special_tokens`).
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from topics.errors import InvalidRequest, UnknownEndpoint

CHAT: Final = "/v1/chat/completions"
COMPLETIONS: Final = "/v1/completions"
Endpoint = Literal["/v1/chat/completions", "/v1/completions"]

Tokens = Annotated[int, Meta(ge=1, le=1_048_576)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Choices = Annotated[int, Meta(ge=1, le=128)]
Stops = Annotated[list[str], Meta(max_length=16)]


class JsonSchema(Struct, kw_only=True, frozen=True):
    """`response_format.json_schema`: a named JSON schema that the answer has to fulfil."""

    schema: dict[str, Any]
    name: str = ""


class ResponseFormat(Struct, kw_only=True, frozen=True):
    """`response_format`: free text, any JSON object, or JSON of one schema."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: JsonSchema | None = None


class StreamOptions(Struct, kw_only=True, frozen=True):
    """`stream_options`: accepted for compatibility; usage is always in the terminal record."""

    include_usage: bool = False


class Message(Struct, kw_only=True, frozen=True):
    """One message of a chat. `content` is text, or parts of which only text parts are understood by text models."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None


class Sampling(Struct, kw_only=True, frozen=True):
    """What both endpoints share. Defaults are OpenAI's."""

    max_tokens: Tokens | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    n: Choices = 1
    stop: str | Stops | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    presence_penalty: Penalty = 0.0
    frequency_penalty: Penalty = 0.0
    logit_bias: dict[str, float] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: str | None = None
    response_format: ResponseFormat | None = None
    top_k: Annotated[int, Meta(ge=-1)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=2)] | None = None
    min_tokens: Annotated[int, Meta(ge=0, le=1_048_576)] = 0
    ignore_eos: bool = False
    stop_token_ids: list[int] | None = None
    skip_special_tokens: bool = True

    @property
    def stops(self) -> list[str]:
        """Stop strings as a list, in the order given."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or ())

    @property
    def token_limit(self) -> int | None:
        """Most tokens the sender wants to get, or None for as many as the context holds."""
        return self.max_tokens


class ChatBody(Sampling, kw_only=True, frozen=True):
    """Body of `/v1/chat/completions`."""

    messages: Annotated[list[Message], Meta(min_length=1, max_length=4096)]
    max_completion_tokens: Tokens | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None

    @property
    def token_limit(self) -> int | None:
        """Most tokens the sender wants to get, or None for as many as the context holds."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def prompt_chars(self) -> int:
        """Characters of all messages: what a prompt length can be estimated from without a tokenizer."""
        return sum(_content_chars(message.content) for message in self.messages)


class CompletionBody(Sampling, kw_only=True, frozen=True):
    """Body of `/v1/completions`. `prompt` is one text or one list of token ids."""

    prompt: str | list[int]
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    echo: bool = False

    @property
    def prompt_chars(self) -> int:
        """Characters of the prompt; for token ids, the characters that so many tokens usually have."""
        return len(self.prompt) if isinstance(self.prompt, str) else 4 * len(self.prompt)


Body = ChatBody | CompletionBody

_CHAT = msgspec.json.Decoder(ChatBody)
_COMPLETION = msgspec.json.Decoder(CompletionBody)


class _Shape(Struct):
    """Which of the telling keys a body has."""

    messages: msgspec.Raw | UnsetType = UNSET
    prompt: msgspec.Raw | UnsetType = UNSET


_SHAPE = msgspec.json.Decoder(_Shape)


def endpoint_of(body: bytes | msgspec.Raw) -> Endpoint:
    """Endpoint that a body belongs to by its keys: `messages` means chat, `prompt` completions.

    Raises:
        UnknownEndpoint: the body has neither key.
        InvalidRequest: the body is no JSON object.
    """
    try:
        shape = _SHAPE.decode(body)
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"body is not a JSON object: {error}", param="body") from error
    if shape.messages is not UNSET:
        return CHAT
    if shape.prompt is not UNSET:
        return COMPLETIONS
    raise UnknownEndpoint(
        "body has neither 'messages' nor 'prompt', so its endpoint is not known; add one of them or name the endpoint",
        param="body",
    )


def decode_body(endpoint: Endpoint, body: bytes | msgspec.Raw) -> Body:
    """The validated body of a request.

    Raises:
        InvalidRequest: a field is missing, of the wrong type or out of range; the message says which.
    """
    try:
        return _CHAT.decode(body) if endpoint == CHAT else _COMPLETION.decode(body)
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"body of {endpoint}: {error}", param=_param_of(str(error))) from error


def _param_of(message: str) -> str:
    """The field that msgspec complains about (`... - at `$.a.b``), as `body.a.b`."""
    _, _, path = message.rpartition("`$")
    return "body" + path.rstrip("`") if path.endswith("`") and path != message else "body"


def _content_chars(content: str | list[dict[str, Any]] | None) -> int:
    if isinstance(content, list):
        return sum(len(str(part.get("text", ""))) for part in content)
    return len(content or "")
