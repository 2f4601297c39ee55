"""Which processes a local cluster consists of."""

import sys
from pathlib import Path

import msgspec

from pipeline.local.plan import ProcessPlan, Size, plan
from pipeline.settings import ModelSettings, OtelSettings, Settings, SimulatedDeployment, VllmDeployment

SETTINGS = Settings(
    models={"tiny": ModelSettings(stable="tiny@v1"), "chat": ModelSettings(stable="chat@v2")},
    deployments={
        "tiny@v1": SimulatedDeployment(),
        "chat@v1": SimulatedDeployment(),
        "chat@v2": VllmDeployment(path="/models/chat"),
    },
)
ENGINE = Path("/engine/bin/python")


def a_plan(size: Size | None = None, flags: tuple[str, ...] = ()) -> list[ProcessPlan]:
    return plan(SETTINGS, size=size or Size(), config=Path("/c.toml"), flags=flags, engine_python=ENGINE)


def named(name: str, plans: list[ProcessPlan]) -> ProcessPlan:
    (found,) = [process for process in plans if process.name == name]
    return found


def test_the_recorder_starts_first_and_each_processor_before_its_workers() -> None:
    assert [process.name for process in a_plan()] == [
        "recorder",
        "processor-chat",
        "worker-chat.v2",
        "processor-tiny",
        "worker-tiny.v1",
    ]


def test_several_of_a_kind_are_numbered_from_one() -> None:
    names = [process.name for process in a_plan(Size(processors=2, workers=3))]
    assert names.count("recorder") == 1
    assert [name for name in names if "tiny" in name] == [
        "processor-tiny-1",
        "processor-tiny-2",
        "worker-tiny.v1-1",
        "worker-tiny.v1-2",
        "worker-tiny.v1-3",
    ]


def test_a_kind_may_be_absent() -> None:
    assert [p.name for p in a_plan(Size(workers=0, recorders=0))] == ["processor-chat", "processor-tiny"]


def test_every_process_is_given_the_file_and_every_flag() -> None:
    commands = [process.command for process in a_plan(flags=("a.b=1", "c.d=2"))]
    given = ("--config", "/c.toml", "--set", "a.b=1", "--set", "c.d=2")
    assert all(command[3:9] == given for command in commands)


def test_a_real_engine_runs_in_its_own_environment_and_may_take_long_to_load() -> None:
    simulated, real = named("worker-tiny.v1", a_plan()), named("worker-chat.v2", a_plan())
    assert simulated.command[:3] == (sys.executable, "-m", "pipeline.worker")
    assert real.command[:3] == (str(ENGINE), "-m", "pipeline.worker")
    assert real.ready_within_s > simulated.ready_within_s


def test_a_worker_is_told_its_deployment_and_its_name() -> None:
    worker = named("worker-tiny.v1-2", a_plan(Size(workers=2)))
    assert worker.command[-4:] == ("--deployment", "tiny@v1", "--id", "worker-tiny.v1-2")


def test_a_processor_is_told_its_model() -> None:
    assert named("processor-tiny", a_plan()).command[-3:] == ("processor", "--model", "tiny")


def test_spans_are_exported_where_a_receiver_is_configured() -> None:
    settings = msgspec.structs.replace(SETTINGS, otel=OtelSettings(endpoint="http://collector:4318"))
    plans = plan(settings, size=Size(), config=Path("/c.toml"), flags=(), engine_python=ENGINE)

    assert (plans[-1].name, plans[-1].command[-1]) == ("otel", "otel")
