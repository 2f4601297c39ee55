"""A hundred users of the client library: each asks, reads its answer to the end, and asks again."""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from pipeline.client import Client, Timeouts
from tests.bench.chaos.judge import AnswerJudge, Blame, Expected, expected_answer
from topics.bodies import ChatBody
from topics.errors import PipelineError, TransportError

MODEL: Final = "chaos"
DEADLINE_MS: Final = 900_000
"""Long enough for any chaos: no request may expire, and none is turned away for what is predicted of it."""
PATIENCE: Final = Timeouts(send_s=300.0, idle_s=300.0, first_token_s=300.0)
CLASSES: Final = ("realtime", "interactive", "interactive", "bulk")
MIN_TOKENS: Final = 60
MAX_TOKENS: Final = 200
WHOLE_RATIO: Final = 0.1
"""Requests that do not stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One request and the right answer to it."""

    id: str
    fields: dict[str, Any]
    streams: bool
    prompt_tokens: int
    expected: Expected


def question(serial: int, *, seed: int) -> Question:
    """Request number `serial` of a run; no two have the same prompt."""
    rng = random.Random(f"{seed}/{serial}")
    tokens, streams = rng.randint(MIN_TOKENS, MAX_TOKENS), rng.random() >= WHOLE_RATIO
    messages = [{"role": "user", "content": f"question {serial} of run {seed} {'x' * rng.randint(10, 400)}"}]
    body = {"messages": messages, "max_tokens": tokens, "ignore_eos": True}
    decoded = msgspec.convert(body, ChatBody)
    return Question(
        id=f"chaos-{seed}-{serial}",
        fields={**body, "model": MODEL, "latency_class": rng.choice(CLASSES), "deadline_ms": DEADLINE_MS},
        streams=streams,
        prompt_tokens=max(decoded.prompt_chars // 4, 1),
        expected=expected_answer(decoded, tokens),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one reader of the client library got; the pauses between pieces are in seconds."""

    question: Question
    pauses_s: tuple[float, ...]


class Users:
    """Concurrent readers that share some clients.

    Args:
        clients: open ones.
        seed: of the questions.
        on_ask: called before a request is sent.
        on_told: called when its reader has the end, or will never have it.
        blame: is told what was wrong.
    """

    def __init__(
        self,
        clients: list[Client],
        *,
        seed: int,
        on_ask: Callable[[Question], None],
        on_told: Callable[[Told], None],
        blame: Blame,
    ) -> None:
        self._clients = clients
        self._seed = seed
        self._on_ask = on_ask
        self._on_told = on_told
        self._blame = blame
        self._asked = 0
        self._stopping = asyncio.Event()

    async def run(self, users: int) -> None:
        """Ask until stopped; returns when the last answers are complete."""
        async with asyncio.TaskGroup() as group:
            for number in range(users):
                group.create_task(self._user(self._clients[number % len(self._clients)]))

    def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()

    async def _user(self, client: Client) -> None:
        while not self._stopping.is_set():
            self._asked += 1
            asked = question(self._asked, seed=self._seed)
            self._on_ask(asked)
            answer = _stream if asked.streams else _whole
            self._on_told(await answer(client, asked, self._blame))


async def _stream(client: Client, asked: Question, blame: Blame) -> Told:
    judge = AnswerJudge(asked.id, reader="sdk", expected=asked.expected, blame=blame)
    stream, pauses, before_s = client.stream(id=asked.id, timeouts=PATIENCE, **asked.fields), [], 0.0
    try:
        async for delta in stream:
            now_s = time.monotonic()
            if before_s:
                pauses.append(now_s - before_s)
            before_s = now_s
            if delta.restarted:
                judge.on_restart()
            else:
                judge.on_tokens(delta.seq, delta.token_ids, delta.text)
        usage = (await stream.result()).usage
        judge.on_terminal("completed", usage_tokens=usage.completion_tokens if usage else None)
    except PipelineError as error:
        _failed(judge, error)
    return Told(question=asked, pauses_s=tuple(pauses))


async def _whole(client: Client, asked: Question, blame: Blame) -> Told:
    judge = AnswerJudge(asked.id, reader="sdk", expected=asked.expected, blame=blame, streams=False)
    try:
        result = await client.complete(id=asked.id, timeouts=PATIENCE, **asked.fields)
        judge.on_whole(result.text)
        judge.on_terminal("completed", usage_tokens=result.usage.completion_tokens if result.usage else None)
    except PipelineError as error:
        _failed(judge, error)
    return Told(question=asked, pauses_s=())


def _failed(judge: AnswerJudge, error: PipelineError) -> None:
    """A terminal record that says so, or none at all."""
    if isinstance(error, TransportError):
        judge.on_silence(error.message)
    else:
        judge.on_terminal(error.code, error.message)
