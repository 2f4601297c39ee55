"""One real engine for all tests that only ask it something."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.devstack.environments import engine_python
from infra.devstack.model import ensure_model
from tests.integration.vllm.client import RemoteEngine, still_there

# float32: greedy answers are the same whatever runs beside them, and however often they are continued.
SETTINGS: dict[str, Any] = {
    "dtype": "float32",
    "max_context_tokens": 512,
    "max_sequences": 8,
    "max_batch_tokens": 512,
    "kv_cache_gib": 0.5,
}


@pytest.fixture(scope="session")
def python() -> Path:
    """The interpreter that has vLLM."""
    found = engine_python()
    if found is None:
        pytest.skip("the engine's environment is missing; run `make setup-vllm`")
    return found


@pytest.fixture(scope="session")
def deployment() -> dict[str, Any]:
    """SmolLM2-135M, small enough that limits are reached in seconds."""
    return {"path": str(ensure_model()), **SETTINGS}


@pytest.fixture(scope="session")
def engine(
    python: Path, deployment: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RemoteEngine]:
    """A started engine, shared; nothing may be running on it when a test ends. Stopping it leaves no process."""
    remote = RemoteEngine(python, tmp_path_factory.mktemp("vllm") / "driver.log")
    try:
        remote.limits = remote.start(**deployment)["limits"]
        yield remote
        processes = [*remote.core_process().children(recursive=True), remote.core_process()]
        remote.send("stop")
        remote.expect("stopped")
        remote.expect("joined")
        assert still_there(processes, within_s=10) == []
    finally:
        remote.close()
