"""What a request takes of an engine, as far as its body tells: estimated without a tokenizer."""

from typing import Final

from msgspec import Struct

from pipeline.engines.continuing import why_not_continued
from topics.bodies import Body

CHARS_PER_TOKEN: Final = 4
DEFAULT_ANSWER_TOKENS: Final = 512
"""Assumed where a request sets no limit: answers end by themselves long before the context does."""


class Weight(Struct, kw_only=True, frozen=True):
    """`kv_tokens` is prompt and answers together; `can_go_on` whether it continues elsewhere after its tokens."""

    sequences: int = 1
    prompt_tokens: int = 0
    kv_tokens: int = 0
    can_go_on: bool = False


UNKNOWN: Final = Weight()


def weight_of(body: Body) -> Weight:
    """The weight of a decoded body."""
    prompt_tokens = body.prompt_chars // CHARS_PER_TOKEN
    answer_tokens = body.token_limit or DEFAULT_ANSWER_TOKENS
    return Weight(
        sequences=body.n,
        prompt_tokens=prompt_tokens,
        kv_tokens=prompt_tokens + body.n * answer_tokens,
        can_go_on=why_not_continued(body) is None,
    )
