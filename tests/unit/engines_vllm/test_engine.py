import os
import sys

import pytest

from pipeline.engines.protocol import Engine, Output
from pipeline.engines.vllm.engine import VllmEngine
from pipeline.engines.vllm.environment import variables
from pipeline.settings.model import VllmDeployment
from topics.errors import EngineDead


def _ignore(outputs: list[Output]) -> None:
    """Nothing is expected."""


def test_engine_is_imported_without_vllm() -> None:
    engine: Engine = VllmEngine(VllmDeployment(path="/nowhere"))

    assert engine.take_steps().steps == 0
    assert "vllm" not in sys.modules


async def test_start_without_a_model_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    engine = VllmEngine(VllmDeployment(path="/nowhere"))

    with pytest.raises(EngineDead, match=r"config\.json"):
        await engine.start(_ignore)


def test_nothing_is_fetched_reported_or_printed() -> None:
    chosen = variables(VllmDeployment(path="/nowhere", enforce_eager=False), cores=64)

    assert chosen["HF_HUB_OFFLINE"] == chosen["VLLM_NO_USAGE_STATS"] == "1"
    assert chosen["VLLM_LOGGING_STREAM"].endswith("stderr")
    assert not {"OMP_NUM_THREADS", "TORCHDYNAMO_DISABLE"} & set(chosen)


def test_threads_and_eager_are_told_to_torch() -> None:
    chosen = variables(VllmDeployment(path="/nowhere", threads=3), cores=64)

    assert (chosen["OMP_NUM_THREADS"], chosen["TORCHDYNAMO_DISABLE"]) == ("3", "1")


@pytest.mark.parametrize(("cores", "threads"), [(1, "1"), (2, "1"), (4, "3"), (5, None)])
def test_a_small_machine_keeps_one_core_for_everything_else(cores: int, threads: str | None) -> None:
    assert variables(VllmDeployment(path="/nowhere"), cores=cores).get("OMP_NUM_THREADS") == threads
