"""A real engine under a worker is killed by the kernel, and another one hangs: its requests lose one attempt each."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from infra.devstack.kafka import KafkaBroker
from pipeline.settings import VllmDeployment
from tests.eventually import eventually
from tests.integration.vllm.client import core_of
from tests.integration.vllm.takeovers import ANSWER_WITHIN_S, QUESTIONS, START_WITHIN_S
from tests.integration.worker.workshop import Answers, Workshop, a_worker_process, a_workshop, answers_of
from tests.unit.worker.builders import a_body
from topics.dispatches import Dispatch
from topics.responses import Completed, Delta, Started

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(1200)]

STEP_LIMIT_S = 10.0


def _questions(shop: Workshop, stem: str) -> list[Dispatch]:
    deadline_at_ms = int(time.time() * 1000) + 900_000
    bodies = [a_body(max_tokens=48, content=question, temperature=0) for question in QUESTIONS[:3]]
    return [
        shop.dispatch(f"{stem}-{number}", body=body, deadline_at_ms=deadline_at_ms)
        for number, body in enumerate(bodies)
    ]


def _have_begun(answers: Answers, requests: list[Dispatch]) -> bool:
    return all(len(answers.of(request.id, Delta)) > 2 for request in requests)


def _text(answers: Answers, request_id: str) -> str:
    return "".join(delta.text for delta in answers.of(request_id, Delta))


async def test_requests_outlive_an_engine_that_is_killed_and_one_that_hangs(
    kafka: KafkaBroker, unique_name: Callable[[str], str], python: Path, deployment: dict[str, Any], tmp_path: Path
) -> None:
    engine = msgspec.convert({**deployment, "step_limit_s": STEP_LIMIT_S}, VllmDeployment)
    log = tmp_path / "worker.log"
    async with (
        a_workshop(kafka.bootstrap, unique_name("m"), engine, session_timeout_ms=6000) as shop,
        answers_of(shop) as answers,
    ):
        worker = await a_worker_process(shop, python=python, log=log)
        try:
            for fault, break_down in (("killed", psutil.Process.kill), ("hung", psutil.Process.suspend)):
                requests = _questions(shop, fault)
                await shop.send(*requests)
                await eventually(partial(_have_begun, answers, requests), within_s=START_WITHIN_S)
                break_down(core_of(worker.pid))
                await eventually(partial(answers.ended, *(r.id for r in requests)), within_s=START_WITHIN_S)
            undisturbed = _questions(shop, "undisturbed")
            await shop.send(*undisturbed)
            await eventually(partial(answers.ended, *(r.id for r in undisturbed)), within_s=ANSWER_WITHIN_S)
            assert worker.returncode is None
        finally:
            worker.kill()
            await worker.wait()
        for fault in ("killed", "hung"):
            ids = [f"{fault}-{number}" for number in range(3)]
            assert [_text(answers, i) for i in ids] == [_text(answers, r.id) for r in undisturbed]
            assert all(len(answers.of(i, Completed)) == 1 for i in ids)
            assert all(answers.of(i, Started)[-1].mode == "resume" for i in ids)
    said = log.read_text()
    assert f"no step for {STEP_LIMIT_S:g} s while it has" in said
    assert said.count("engine died") >= 2
