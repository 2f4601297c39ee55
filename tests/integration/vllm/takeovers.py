"""Real workers with real engines, killed in mid-stream again and again, and what became of the answers."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from tests.eventually import eventually
from tests.integration.worker.workshop import Answers, Workshop, a_worker_process
from tests.unit.worker.builders import a_body
from topics.dispatches import Dispatch
from topics.responses import Completed, Delta, Started

START_WITHIN_S = 400.0
ANSWER_WITHIN_S = 120.0
TOKENS = 48
QUESTIONS = (
    "Why do rivers meander?",
    "How is flour made?",
    "What does a tide mill need?",
    "Tell me about owls.",
    "Why is the sky blue?",
)


class Survival(msgspec.Struct, kw_only=True):
    """One answer whose worker was killed: what readers have, and the answer to the same body without trouble.

    `cut` is how many tokens readers had when the worker was killed.
    """

    question: str
    streams: bool
    cut: int
    modes: list[str]
    text: str
    undisturbed: str
    completion_tokens: int
    restarted: bool

    @property
    def is_identical(self) -> bool:
        return self.text == self.undisturbed and not self.restarted and self.completion_tokens == TOKENS


async def survivals(
    shop: Workshop,
    answers: Answers,
    *,
    python: Path,
    log: Path,
    kills: int,
    say: Callable[[str], None] = lambda _: None,
) -> list[Survival]:
    """Kill `kills` workers one after the other, each while it answers all questions as streams and one as a whole."""
    found: list[Survival] = []
    worker = await a_worker_process(shop, python=python, log=log)
    try:
        for kill in range(kills):
            cut = 3 + 4 * (kill % 10)
            requests = [_ask(shop, f"{kill}-{number}", question) for number, question in enumerate(QUESTIONS)]
            requests.append(_ask(shop, f"{kill}-whole", QUESTIONS[kill % len(QUESTIONS)], stream=False))
            await shop.send(*requests)
            await eventually(partial(_has, answers, requests[0].id, cut), within_s=START_WITHIN_S)
            had = [_tokens(answers, request.id) for request in requests]
            worker.kill()
            await worker.wait()
            killed_s = time.monotonic()
            worker = await a_worker_process(shop, python=python, log=log)
            await eventually(partial(answers.ended, *(r.id for r in requests)), within_s=START_WITHIN_S)
            say(f"kill {kill + 1}: all ended {time.monotonic() - killed_s:.1f} s after it")
            found += [_survival(answers, *of) for of in zip(requests, had, strict=True)]
        undisturbed = {question: _ask(shop, f"undisturbed-{question}", question) for question in QUESTIONS}
        for question, request in undisturbed.items():
            await shop.send(request)
            await eventually(partial(answers.ended, request.id), within_s=ANSWER_WITHIN_S)
            for survival in found:
                if survival.question == question:
                    survival.undisturbed = _text(answers, request.id)
    finally:
        worker.kill()
        await asyncio.wait_for(worker.wait(), 20)
    return found


def _ask(shop: Workshop, request_id: str, question: str, *, stream: bool = True) -> Dispatch:
    body = a_body(stream=stream, max_tokens=TOKENS, content=question, temperature=0)
    return shop.dispatch(request_id, body=body, deadline_at_ms=int(time.time() * 1000) + 900_000)


def _has(answers: Answers, request_id: str, tokens: int) -> bool:
    return _tokens(answers, request_id) >= tokens


def _tokens(answers: Answers, request_id: str) -> int:
    return sum(len(delta.token_ids) for delta in answers.of(request_id, Delta))


def _text(answers: Answers, request_id: str) -> str:
    (end,) = answers.of(request_id, Completed)
    if end.body is not None:
        return str(end.body["choices"][0]["message"]["content"])
    return "".join(delta.text for delta in answers.of(request_id, Delta))


def _survival(answers: Answers, dispatch: Dispatch, cut: int) -> Survival:
    (end,) = answers.of(dispatch.id, Completed)
    modes: list[Any] = [begun.mode for begun in answers.of(dispatch.id, Started)]
    return Survival(
        question=msgspec.json.decode(dispatch.body)["messages"][0]["content"],
        streams=end.body is None,
        cut=cut,
        modes=modes,
        text=_text(answers, dispatch.id),
        undisturbed="",
        completion_tokens=end.usage.completion_tokens,
        restarted="restart" in modes,
    )
