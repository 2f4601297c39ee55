"""Which processes a local cluster consists of, and how each is started. Pure: nothing is started here."""

import sys
from dataclasses import dataclass
from pathlib import Path

from pipeline.settings import Settings, SimulatedDeployment


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many processes of each kind. Processors are per model, workers per stable deployment."""

    processors: int = 1
    workers: int = 1
    recorders: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessPlan:
    """One process: its name in logs and in `kill`, its command, and how long it may take to be ready, in seconds.

    Every one takes `--metrics-port`.
    """

    name: str
    command: tuple[str, ...]
    ready_within_s: float


def plan(
    settings: Settings, *, size: Size, config: Path, flags: tuple[str, ...], engine_python: Path | None
) -> list[ProcessPlan]:
    """The processes of a cluster in the order of their start.

    Args:
        settings: resolved.
        size: how many of each.
        config: settings file that every process is given.
        flags: `--set` items that every process is given.
        engine_python: interpreter of the engine's environment; needed where a deployment runs on a real engine.
    """
    common = ("--config", str(config), *(part for flag in flags for part in ("--set", flag)))
    millrace = (sys.executable, "-m", "pipeline.cli.main", *common)
    plans = [
        ProcessPlan(name=_numbered("recorder", i, size.recorders), command=(*millrace, "recorder"), ready_within_s=60)
        for i in range(size.recorders)
    ]
    for model in sorted(settings.models):
        plans += [
            ProcessPlan(
                name=_numbered(f"processor-{model}", i, size.processors),
                command=(*millrace, "processor", "--model", model),
                ready_within_s=60,
            )
            for i in range(size.processors)
        ]
        plans += _workers(settings, settings.models[model].stable, size.workers, common, engine_python)
    if settings.otel.endpoint:
        plans.append(ProcessPlan(name="otel", command=(*millrace, "otel"), ready_within_s=60))
    return plans


def _workers(
    settings: Settings, deployment: str, count: int, common: tuple[str, ...], engine_python: Path | None
) -> list[ProcessPlan]:
    simulated = isinstance(settings.deployments[deployment], SimulatedDeployment)
    python = sys.executable if simulated or engine_python is None else str(engine_python)
    stem = f"worker-{deployment.replace('@', '.')}"
    return [
        ProcessPlan(
            name=_numbered(stem, i, count),
            command=(
                python,
                "-m",
                "pipeline.worker",
                *common,
                "--deployment",
                deployment,
                "--id",
                _numbered(stem, i, count),
            ),
            ready_within_s=60 if simulated else 400,
        )
        for i in range(count)
    ]


def _numbered(stem: str, index: int, count: int) -> str:
    return stem if count == 1 else f"{stem}-{index + 1}"
