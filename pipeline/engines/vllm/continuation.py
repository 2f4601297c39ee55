"""Going on with an answer that another engine began: from prompt and tokens so far.

For the model the tokens so far are prompt. For everything else they are not: stop strings may lie across the cut, a
character may be cut in its middle, limits count the whole answer, and text that the first engine held back is still to
come. So the detokenizer is not primed with the tokens (it would emit the whole prompt again when the cut is inside a
character) but fed with them, one by one, as in the undisturbed run, and what it says meanwhile is dropped.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from topics.bodies import Body
from topics.responses import FinishReason


class Detokenizer(Protocol):
    """vLLM's `IncrementalDetokenizer`."""

    def update(self, new_token_ids: list[int], stop_terminated: bool) -> str | None:
        """Take tokens in; returns the stop string that they completed."""
        ...

    def get_next_output_text(self, finished: bool, delta: bool) -> str:
        """Text since the call before, or all of it."""
        ...


class EndsWith(Protocol):
    """What of vLLM's `SamplingParams` ends an answer, for the whole answer."""

    max_tokens: Any
    min_tokens: int
    stop_token_ids: Any
    eos_token_id: int | None


def why_not_continued(body: Body) -> str | None:
    """The field whose state at the cut is not known, so that the answer has to start over; None if there is none.

    Grammars, the random numbers of a seed and the penalties that count generated tokens apart from the prompt live in
    the engine that is gone. `repetition_penalty` counts both alike and is exact.
    """
    if body.response_format is not None and body.response_format.type != "text":
        return "response_format"
    if body.presence_penalty:
        return "presence_penalty"
    if body.frequency_penalty:
        return "frequency_penalty"
    return "seed" if body.seed is not None and body.temperature != 0 else None


def replay(detokenizer: Detokenizer, continued: Sequence[int], params: EndsWith) -> FinishReason | None:
    """Bring a fresh detokenizer to the state after `continued`; the reason if the answer is complete with them.

    It is when the engine that made them died before it could say so.
    """
    for token in continued:
        if detokenizer.update([token], False) is not None:
            return "stop"
    detokenizer.get_next_output_text(False, True)
    if len(continued) >= params.min_tokens and continued[-1] in (params.eos_token_id, *(params.stop_token_ids or ())):
        return "stop"
    return "length" if len(continued) >= params.max_tokens else None
