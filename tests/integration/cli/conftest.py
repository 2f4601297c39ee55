"""A cluster of topics for one test, on the shared broker, and the command line pointed at it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from infra.devstack.kafka import KafkaBroker
from pipeline.cli.main import main
from pipeline.runtime import topics
from pipeline.settings import Settings, load
from topics.catalogue import catalogue


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A model of its own on the shared broker."""

    model: str
    flags: tuple[str, ...]
    settings: Settings

    async def millrace(self, *line: str) -> int:
        """Run a command line against it, in a thread beside the test's loop; its exit code."""
        flags = [part for flag in self.flags for part in ("--set", flag)]
        return await asyncio.to_thread(main, [*flags, *line])

    async def with_topics(self) -> "Cluster":
        """The same, its topics made."""
        await topics.create(self.settings.kafka, catalogue(self.settings.layout()))
        return self


@pytest.fixture
def cluster(kafka: KafkaBroker, unique_name: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster without topics. ClickHouse does not answer."""
    for variable in ("MILLRACE_CONFIG", "MILLRACE_KAFKA", "MILLRACE_CLICKHOUSE"):
        monkeypatch.delenv(variable, raising=False)
    model = unique_name("m")
    flags = (
        f'kafka.brokers="{kafka.bootstrap}"',
        f'models.{model}.stable="{model}@v1"',
        f'deployments."{model}@v1".engine="simulated"',
        'clickhouse.url="http://127.0.0.1:1"',
    )
    return Cluster(model=model, flags=flags, settings=load(environ={}, flags=flags))
