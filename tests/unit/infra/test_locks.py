"""The locks say what pyproject.toml says, and both environments speak the same wire."""

import re
import tomllib

import pytest

from infra.devstack.environments import LOCKS
from infra.devstack.home import CHECKOUT
from infra.devstack.jars import COORDINATES, locked_hashes

PIN = re.compile(r"^([A-Za-z0-9.-]+)==([^\s;\\]+)", re.MULTILINE)


def normal(name: str) -> str:
    return name.lower().replace(".", "-")


def pins(text: str) -> dict[str, str]:
    return {normal(name): version for name, version in PIN.findall(text)}


def locked(name: str) -> dict[str, str]:
    return pins((LOCKS / name).read_text())


def project(*, extra: str | None = None) -> dict[str, str]:
    table = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    asked = table["dependencies"] if extra is None else table["optional-dependencies"][extra]
    return pins("\n".join(asked))


def test_the_runtime_lock_holds_every_dependency_at_its_version() -> None:
    assert project().items() <= locked("base.txt").items()


def test_the_development_lock_holds_runtime_and_tools_at_their_versions() -> None:
    assert (project() | project(extra="dev")).items() <= locked("dev.txt").items()


@pytest.mark.parametrize("lock", ["vllm-cpu", "vllm-gpu", "model"])
def test_a_lock_holds_what_its_source_asks_for(lock: str) -> None:
    assert locked(f"{lock}.in").items() <= locked(f"{lock}.txt").items()


@pytest.mark.parametrize("lock", ["vllm-cpu.txt", "vllm-gpu.txt"])
@pytest.mark.parametrize("library", ["aiokafka", "cramjam", "msgspec", "orjson", "pyarrow", "uvloop"])
def test_worker_and_processor_write_records_with_the_same_library(lock: str, library: str) -> None:
    assert locked(lock)[library] == locked("base.txt")[library]


@pytest.mark.parametrize("lock", sorted(path.name for path in LOCKS.glob("*.txt")))
def test_a_lock_names_no_index_and_no_machine(lock: str) -> None:
    text = (LOCKS / lock).read_text()
    assert not re.search(r"https?://|--index|--find-links|^\s*/", text, re.MULTILINE)


def test_the_first_uv_is_the_locked_one() -> None:
    makefile = (CHECKOUT / "Makefile").read_text()
    assert f"UV_VERSION := {locked('dev.txt')['uv']}\n" in makefile


def test_kafka_is_locked_in_the_version_that_is_resolved() -> None:
    kafka, log_binding = (coordinate.rsplit(":", 1)[1] for coordinate in COORDINATES)
    jars = locked_hashes()
    assert {f"kafka_2.13-{kafka}.jar", f"kafka-clients-{kafka}.jar"} <= jars.keys()
    assert {f"log4j-core-{log_binding}.jar", f"log4j-slf4j-impl-{log_binding}.jar"} <= jars.keys()
