"""vLLM's outputs as the protocol's: pure mapping, with the sequence's counts kept on the way."""

from typing import Any, Protocol

from pipeline.engines.protocol import Output
from pipeline.engines.vllm.sequences import Active
from topics.errors import Cancelled, GenerationFailed, PipelineError
from topics.responses import FinishReason

_FINISH_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}


class Result(Protocol):
    """vLLM's `RequestOutput` in delta mode."""

    outputs: Any
    num_cached_tokens: int | None


def output_of(sequence: Active, result: Result) -> Output:
    """One step's result for one sequence, whose counts are brought up to date.

    The last one has the usage; its `gpu_ns` is known when the step is charged, and filled in then.
    """
    piece = result.outputs[0]
    sequence.produced += len(piece.token_ids)
    sequence.cached_tokens = result.num_cached_tokens or 0
    output = Output(
        key=sequence.key,
        text=sequence.take_repeated() + piece.text,
        token_ids=list(piece.token_ids),
        logprobs=sequence.shaped_logprobs(piece.logprobs),
    )
    if piece.finish_reason is not None:
        sequence.finished = True
        output.usage = sequence.usage()
        output.finish_reason = _FINISH_REASONS.get(piece.finish_reason)
        if output.finish_reason is None:
            output.error = GenerationFailed(f"vLLM ended the answer with {piece.finish_reason!r}; send it again")
    return output


def completed(sequence: Active, reason: FinishReason) -> Output:
    """The last output of an answer that needs no further tokens."""
    return Output(key=sequence.key, text=sequence.take_repeated(), finish_reason=reason, usage=sequence.usage())


def failed(sequence: Active, error: PipelineError) -> Output:
    """The last output of a sequence that never ran."""
    return Output(key=sequence.key, error=error, usage=sequence.usage())


def cancelled(sequence: Active) -> Output:
    """The last output of a sequence that its sender does not want any more."""
    error = Cancelled(f"the request was cancelled after {sequence.produced + len(sequence.request.continued)} tokens")
    return Output(key=sequence.key, error=error, usage=sequence.usage(), gpu_ns=sequence.gpu_ns)
