"""Which answers an engine can go on with where another one stopped. Pure; the same for every engine.

An engine that continues has the prompt, the tokens so far and the request. Whatever else the engine that is gone knew
at the cut is not known any more, and an answer that depends on it has to start over.
"""

from topics.bodies import Body, ChatBody


def why_not_continued(body: Body) -> str | None:
    """The field whose state at the cut is not known, so that the answer has to start over; None if there is none.

    Grammars, the random numbers of a seed and the penalties that count generated tokens apart from the prompt live in
    the engine that is gone; `repetition_penalty` counts both alike and is exact. Of several choices the log does not
    say which token is whose. Log probabilities of a request that does not stream are in no record before its end.
    """
    if body.response_format is not None and body.response_format.type != "text":
        return "response_format"
    if body.n > 1:
        return "n"
    if body.presence_penalty:
        return "presence_penalty"
    if body.frequency_penalty:
        return "frequency_penalty"
    if body.seed is not None and body.temperature != 0:
        return "seed"
    return "logprobs" if not body.stream and _wants_logprobs(body) else None


def _wants_logprobs(body: Body) -> bool:
    return body.logprobs if isinstance(body, ChatBody) else body.logprobs is not None
