"""The examples of the client's README run as they are."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import pipeline.client
from infra.devstack.kafka import KafkaBroker
from pipeline.settings import KafkaSettings
from tests.integration.client.responder import Asked, Responder
from topics.responses import Response

pytestmark = pytest.mark.integration

README = (Path(pipeline.client.__file__).parent / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def _answer(asked: Asked) -> list[Response]:
    if asked.body.get("stream"):
        return asked.whole("Hel", "lo")
    return [asked.started(), asked.completed(0, body={"choices": [{"message": {"content": "Hi"}}]})]


@pytest.fixture
async def common_responder(kafka: KafkaBroker, unique_name: Callable[[str], str]) -> AsyncIterator[Responder]:
    async with Responder(KafkaSettings(brokers=kafka.bootstrap), model=unique_name("model"), pool="") as responder:
        responder.answer_with(_answer)
        yield responder


@pytest.mark.parametrize(("example", "printed"), list(zip(EXAMPLES, ["HelloHi", "Hello"], strict=True)))
async def test_an_example_runs(
    common_responder: Responder, capsys: pytest.CaptureFixture[str], example: str, printed: str
) -> None:
    program = example.replace("127.0.0.1:9092", common_responder.settings.brokers)
    program = program.replace("smollm2", common_responder.lane.model)
    await asyncio.to_thread(exec, compile(program, "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith(printed)
