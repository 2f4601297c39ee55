"""Request bodies as arguments of vLLM's `SamplingParams`: pure, without vLLM.

Values that vLLM knows better (the vocabulary, which schemas its grammars can express) are checked by vLLM itself.
"""

from typing import Any

from pipeline.engines.vllm.budget import Budget
from topics.bodies import Body, ChatBody, ResponseFormat
from topics.errors import InvalidRequest, Unsupported

_BIAS_LIMIT = 100.0


def check_supported(body: Body) -> None:
    """Refuse what this engine does not do.

    Raises:
        Unsupported: several choices, or the prompt echoed.
    """
    if body.n != 1:
        raise Unsupported(f"n is {body.n}, this engine generates 1 choice; send {body.n} requests", param="body.n")
    if not isinstance(body, ChatBody) and body.echo:
        raise Unsupported("echo is not supported; put the prompt before the answer yourself", param="body.echo")


def sampling_arguments(body: Body, budget: Budget) -> dict[str, Any]:
    """Keyword arguments of `SamplingParams` for a whole answer, but for `structured_outputs` and the output kind.

    Raises:
        InvalidRequest: a field that the types of the body let pass cannot be.
    """
    return {
        "max_tokens": budget.max_tokens,
        "min_tokens": budget.min_tokens,
        # OpenAI's defaults, not the model's: the same request means the same on every deployment.
        "temperature": 1.0 if body.temperature is None else body.temperature,
        "top_p": 1.0 if body.top_p is None else body.top_p,
        "top_k": 0 if body.top_k is None else max(body.top_k, 0),
        "min_p": body.min_p or 0.0,
        "seed": body.seed,
        "stop": _stops(body),
        "stop_token_ids": body.stop_token_ids,
        "ignore_eos": body.ignore_eos,
        "presence_penalty": body.presence_penalty,
        "frequency_penalty": body.frequency_penalty,
        "repetition_penalty": 1.0 if body.repetition_penalty is None else body.repetition_penalty,
        "logit_bias": _logit_bias(body.logit_bias),
        "logprobs": logprobs_asked(body),
        "skip_special_tokens": body.skip_special_tokens,
    }


def logprobs_asked(body: Body) -> int | None:
    """How many alternatives beside the chosen token are wanted for each position, or None for no log probabilities.

    Raises:
        InvalidRequest: `top_logprobs` without `logprobs`.
    """
    if not isinstance(body, ChatBody):
        return body.logprobs
    if body.top_logprobs and not body.logprobs:
        raise InvalidRequest("top_logprobs is set and logprobs is not; set logprobs to true", param="body.top_logprobs")
    return (body.top_logprobs or 0) if body.logprobs else None


def structure_arguments(response_format: ResponseFormat | None) -> dict[str, Any] | None:
    """Keyword arguments of `StructuredOutputsParams`, or None where the answer is free text.

    Raises:
        InvalidRequest: `json_schema` is asked for and no schema given.
    """
    if response_format is None or response_format.type == "text":
        return None
    if response_format.type == "json_object":
        return {"json_object": True}
    if response_format.json_schema is None:
        raise InvalidRequest(
            "response_format has type json_schema and no json_schema; add the schema or use json_object",
            param="body.response_format.json_schema",
        )
    return {"json": response_format.json_schema.schema}


def _stops(body: Body) -> list[str]:
    if not all(body.stops):
        raise InvalidRequest("stop has an empty string; remove it", param="body.stop")
    return body.stops


def _logit_bias(biases: dict[str, float] | None) -> dict[int, float] | None:
    if biases is None:
        return None
    try:
        return {int(token): min(_BIAS_LIMIT, max(-_BIAS_LIMIT, bias)) for token, bias in biases.items()}
    except ValueError as error:
        raise InvalidRequest(f"logit_bias has a key that is no token id: {error}", param="body.logit_bias") from error
