"""What a fresh engine is asked to do so that the times of its first steps are known before the first request.

A few short generations at once, of four sizes. Pure; the engine submits them like any other request.
"""

from typing import Final

from pipeline.engines.protocol import EngineRequest
from topics.bodies import COMPLETIONS, CompletionBody

WITHIN_S: Final = 2.0
"""Longest warm-up, beside a start of tens of seconds; what has not ended by then is aborted."""
_SIZES: Final = (1, 4, 16)
_PROMPT_TOKENS: Final = 16
_TOKENS: Final = 4
_IDS: Final = 256
"""Token ids below this are in every vocabulary."""


def rounds(max_sequences: int) -> list[list[EngineRequest]]:
    """Requests of each round, the smaller rounds first; the last one fills the engine.

    No prompt begins like another, so that none is found in the prefix cache.
    """
    sizes = [*(size for size in _SIZES if size < max_sequences), max_sequences]
    return [[_request(size, index) for index in range(size)] for size in sizes]


def _request(size: int, index: int) -> EngineRequest:
    prompt = [(size + index + step) % _IDS for step in range(_PROMPT_TOKENS - 2)]
    body = CompletionBody(
        prompt=[size % _IDS, index % _IDS, *prompt], max_tokens=_TOKENS, temperature=0.0, ignore_eos=True
    )
    return EngineRequest(key=f"warm-up-{size}-{index}", endpoint=COMPLETIONS, body=body)
