"""Going on with an answer that another engine began: from prompt and tokens so far.

For the model the tokens so far are prompt. For everything else they are not: stop strings may lie across the cut, a
character may be cut in its middle, limits count the whole answer, and text that the first engine held back is still to
come. So the detokenizer is not primed with the tokens (it would emit the whole prompt again when the cut is inside a
character) but fed with them, one by one, as in the undisturbed run, and what it says meanwhile was said before.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from topics.responses import FinishReason


class Detokenizer(Protocol):
    """vLLM's `IncrementalDetokenizer`."""

    def update(self, new_token_ids: list[int], stop_terminated: bool) -> str | None:
        """Take tokens in; returns the stop string that they completed. `stop_terminated`: the last one is no text."""
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


class Replayed(NamedTuple):
    """What became of the tokens so far: the text that the first engine had said with them, and why the answer is
    complete with them, if it is.
    """

    text: str
    complete: FinishReason | None


def replay(detokenizer: Detokenizer, continued: Sequence[int], params: EndsWith) -> Replayed:
    """Bring a fresh detokenizer to the state after `continued`.

    The answer is complete when the engine that made them died before it could say so.
    """
    ends = (params.eos_token_id, *(params.stop_token_ids or ()))
    is_ended = len(continued) >= params.min_tokens and continued[-1] in ends
    for token in continued[:-1]:
        if detokenizer.update([token], False) is not None:
            return Replayed(detokenizer.get_next_output_text(True, True), "stop")
    is_stopped = detokenizer.update([continued[-1]], is_ended) is not None
    complete: FinishReason | None = "stop" if is_stopped or is_ended else None
    if complete is None and len(continued) >= params.max_tokens:
        complete = "length"
    return Replayed(detokenizer.get_next_output_text(complete is not None, True), complete)
