"""The consumer that `topics/README.md` shows agrees with the client library, attempt by attempt."""

import asyncio
from itertools import islice

import pytest

from pipeline.client import Client
from tests.integration.client.documented import python_answers
from tests.integration.client.responder import Asked, Responder
from topics.errors import PipelineError
from topics.responses import ErrorBody, Failed, Progress, Rejected, Response

pytestmark = pytest.mark.integration

ERROR = ErrorBody(message="no", type="EngineError", param=None, code="engine_error", retryable=True)


def _undisturbed(asked: Asked) -> list[Response]:
    return asked.whole("one ", "two ", "three")


def _taken_over(asked: Asked) -> list[Response]:
    resumed = asked.started(attempt="b", mode="resume")
    tail = [asked.delta(1, "B1 ", attempt="b"), asked.delta(1, "a1 "), asked.delta(2, "B2", attempt="b")]
    return [asked.started(), asked.delta(0, "A0 "), resumed, *tail, asked.completed(2), asked.completed(3, attempt="b")]


def _restarted(asked: Asked) -> list[Response]:
    again = asked.started(attempt="b", mode="restart", hop=1)
    tail: list[Response] = [asked.delta(0, "good", attempt="b"), asked.completed(1), asked.completed(1, attempt="b")]
    return [asked.started(), asked.delta(0, "void"), again, *tail]


def _dispatched_twice(asked: Asked) -> list[Response]:
    late = asked.started(attempt="late", mode="fresh")
    lower = asked.started(attempt="low", mode="resume", hop=0)
    middle: list[Response] = [late, asked.delta(0, "late", attempt="late"), asked.delta(0, "good", attempt="b"), lower]
    end: list[Response] = [
        asked.delta(1, "low", attempt="low"),
        asked.completed(1, attempt="b"),
        asked.delta(1, "after", attempt="b"),
    ]
    return [asked.started(attempt="b", mode="resume", hop=2), *middle, *end]


def _without_deltas(asked: Asked) -> list[Response]:
    progress = Progress(id=asked.id, origin=asked.origin, attempt="a", seq=0, token_ids=[1, 2])
    return [asked.started(), progress, asked.completed(2, body={"choices": [{"text": ""}]})]


def _rejected(asked: Asked) -> list[Response]:
    return [Rejected(id=asked.id, origin=asked.origin, error=ERROR), *asked.whole("never")]


def _failed(asked: Asked) -> list[Response]:
    early = Rejected(id=asked.id, origin=asked.origin, error=ERROR)
    end = Failed(id=asked.id, origin=asked.origin, attempt="a", next_seq=1, error=ERROR)
    return [asked.started(), early, asked.delta(0, "x"), end]


SCRIPTS = {
    "undisturbed": _undisturbed,
    "taken-over": _taken_over,
    "restarted": _restarted,
    "dispatched-twice": _dispatched_twice,
    "without-deltas": _without_deltas,
    "rejected": _rejected,
    "failed": _failed,
}
SAID = {
    "undisturbed": ("one two three", "completed"),
    "taken-over": ("A0 B1 B2", "completed"),
    "restarted": ("good", "completed"),
    "dispatched-twice": ("good", "completed"),
    "without-deltas": ("", "completed"),
    "rejected": ("", "error"),
    "failed": ("x", "error"),
}


async def _by_the_client(client: Client, model: str, name: str) -> tuple[str, str]:
    stream, text = client.stream(model=model, prompt="x", id=name), ""
    try:
        async for delta in stream:
            text = "" if delta.restarted else text + delta.text
    except PipelineError:
        return text, "error"
    return text, "completed"


async def test_the_documented_consumer_agrees_with_the_client(client: Client, responder: Responder) -> None:
    responder.answer_with(lambda asked: SCRIPTS[asked.id](asked))
    read = await asyncio.gather(*(_by_the_client(client, responder.lane.model, name) for name in SCRIPTS))

    answers = python_answers()(responder.settings.brokers, client.reply.topic, client.reply.partition)
    plain = await asyncio.wait_for(asyncio.to_thread(lambda: list(islice(answers, len(SCRIPTS)))), 60)

    assert dict(zip(SCRIPTS, read, strict=True)) == SAID
    by_id = {end["id"]: (text, end["type"] if end["type"] == "completed" else "error") for _, text, end in plain}
    assert by_id == SAID
