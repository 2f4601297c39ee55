"""A worker with a real engine is killed in mid-stream: readers see a pause, and the text is the undisturbed one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from infra.devstack.kafka import KafkaBroker
from pipeline.settings import VllmDeployment
from tests.integration.vllm.takeovers import survivals
from tests.integration.worker.workshop import a_workshop, answers_of

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(1200)]


async def test_answers_outlive_their_workers_word_for_word(
    kafka: KafkaBroker, unique_name: Callable[[str], str], python: Path, deployment: dict[str, Any], tmp_path: Path
) -> None:
    engine = msgspec.convert(deployment, VllmDeployment)
    async with (
        a_workshop(kafka.bootstrap, unique_name("m"), engine, session_timeout_ms=2000) as shop,
        answers_of(shop) as answers,
    ):
        found = await survivals(shop, answers, python=python, log=tmp_path / "workers.log", kills=2)

    assert [survival.modes[-1] for survival in found] == ["resume"] * 12
    assert [(s.text, s.completion_tokens) for s in found] == [(s.undisturbed, 48) for s in found]
    assert sum(survival.streams for survival in found) == 10
