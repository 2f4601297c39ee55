"""How many tokens an answer may have: pure arithmetic on the context of the model."""

from msgspec import Struct

from topics.errors import ContextTooLong, InvalidRequest


class Budget(Struct, kw_only=True, frozen=True):
    """Bounds of a whole answer in tokens, what was generated before a take-over included."""

    max_tokens: int
    min_tokens: int


def budget(*, prompt_tokens: int, context_tokens: int, max_tokens: int | None, min_tokens: int) -> Budget:
    """Bounds of an answer to a prompt of so many tokens, in a model whose context is `context_tokens`.

    Without `max_tokens` the answer may fill the context.

    Raises:
        ContextTooLong: prompt and answer do not fit.
        InvalidRequest: the prompt is empty, or `min_tokens` exceeds what the answer may have.
    """
    if prompt_tokens == 0:
        raise InvalidRequest("the prompt has no tokens; send at least one", param="body.prompt")
    room = context_tokens - prompt_tokens
    if max_tokens is None and room < 1:
        raise ContextTooLong(
            f"prompt has {prompt_tokens} tokens and leaves no room for an answer: the model accepts {context_tokens} "
            "tokens, prompt and answer together; shorten the prompt"
        )
    if max_tokens is not None and max_tokens > room:
        raise ContextTooLong(
            f"prompt has {prompt_tokens} tokens and max_tokens is {max_tokens}, together "
            f"{prompt_tokens + max_tokens}; the model accepts {context_tokens}; shorten the prompt or lower max_tokens"
        )
    limit = room if max_tokens is None else max_tokens
    if min_tokens > limit:
        raise InvalidRequest(
            f"min_tokens is {min_tokens}, more than the {limit} tokens that the answer may have; lower it",
            param="body.min_tokens",
        )
    return Budget(max_tokens=limit, min_tokens=min_tokens)
