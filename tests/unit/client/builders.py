"""Answers and the records that make them."""

from typing import Any

from pipeline.client.answer import Answer
from pipeline.client.timeouts import NO_LIMITS, Limits
from topics.names import origin_of
from topics.requests import Cancellation
from topics.responses import Completed, Delta, Mode, Progress, Rejected, Started

ORIGIN = origin_of("inference.requests.m.interactive", 0, 7)


def an_answer(*, limits: Limits = NO_LIMITS, accepted_at_s: float = 0.0, request_id: str = "r") -> Answer:
    answer = Answer(request_id=request_id, limits=limits, cancellation=Cancellation(id=request_id, model="m"))
    answer.accept(ORIGIN, accepted_at_s)
    return answer


def started(*, attempt: str = "a", mode: Mode = "fresh", hop: int = 0, origin: str = ORIGIN) -> Started:
    return Started(
        id="r", origin=origin, attempt=attempt, mode=mode, hop=hop, dispatch=f"d/0/{hop}", term=0, deployment="m@v1"
    )


def delta(seq: int, text: str, *, attempt: str = "a", origin: str = ORIGIN, logprobs: Any = None) -> Delta:
    return Delta(id="r", origin=origin, attempt=attempt, seq=seq, text=text, token_ids=[100 + seq], logprobs=logprobs)


def progress(seq: int) -> Progress:
    return Progress(id="r", origin=ORIGIN, attempt="a", seq=seq, token_ids=[100 + seq])


def completed(next_seq: int, *, attempt: str = "a", origin: str = ORIGIN, body: Any = None) -> Completed:
    return Completed(id="r", origin=origin, attempt=attempt, next_seq=next_seq, finish_reason="stop", body=body)


def rejected(*, origin: str = ORIGIN) -> Rejected:
    return Rejected(id="r", origin=origin)
