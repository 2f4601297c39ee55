"""What a request will cost, estimated from its body. The worker counts exactly; credits need a guess beforehand."""

from typing import Final

from processors.queueing.ticket import Demand
from topics.bodies import Body

CHARS_PER_TOKEN: Final = 4
TEMPLATE_TOKENS: Final = 16
"""Tokens that a chat template adds around the text of a short conversation."""
DEFAULT_ANSWER_TOKENS: Final = 512
"""Assumed where a request sets no limit: answers end by themselves long before the context does."""


def demand_of(body: Body, *, yields: bool) -> Demand:
    """Sequences and tokens that the request will occupy: one sequence per choice, all of them on one prompt."""
    prompt_tokens = body.prompt_chars // CHARS_PER_TOKEN + TEMPLATE_TOKENS
    answer_tokens = body.token_limit or DEFAULT_ANSWER_TOKENS
    return Demand(body.n, prompt_tokens, prompt_tokens + body.n * answer_tokens, yields)
