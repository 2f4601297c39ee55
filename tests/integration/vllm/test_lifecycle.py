"""Deaths: of the engine core, and of the worker that owns it. Nothing is left behind, and everyone is told."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.vllm.client import RemoteEngine, chat, still_there

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(500)]


@pytest.fixture
def driver(python: Path, tmp_path: Path) -> Iterator[RemoteEngine]:
    remote = RemoteEngine(python, tmp_path / "driver.log")
    try:
        yield remote
    finally:
        remote.close()


def test_no_model_is_said_at_once(driver: RemoteEngine, tmp_path: Path) -> None:
    driver.send("start", deployment={"path": str(tmp_path)})

    assert "config.json" in driver.expect("failed")["message"]


def test_death_of_the_core_is_told_and_death_of_the_worker_takes_the_engine_along(
    driver: RemoteEngine, deployment: dict[str, Any]
) -> None:
    driver.start(**deployment)
    (key,) = driver.submit(chat("Tell me everything.", max_tokens=400, ignore_eos=True))
    driver.next_output(key)
    core = driver.core_process()
    first = [core, *core.children(recursive=True)]

    core.kill()

    assert "gone" in driver.expect("dead", within_s=10)["message"]
    assert still_there(first, within_s=20) == []
    driver.send("stop")
    driver.expect("stopped")

    driver.start(**deployment)
    assert "Paris" in driver.ask(chat("What is the capital of France?", max_tokens=16)).text
    second = driver.engine_processes()
    assert len(second) >= 2

    driver.kill()

    assert still_there(second, within_s=20) == []
