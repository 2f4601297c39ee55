"""A cluster on which the product and other ways of batching serve the same load side by side.

Each way has a model of its own, with a processor and four workers with simulated engines; broker and recorder are
shared. Costs and targets are those of a modelled H100, stretched: requests are few enough for a small machine, and the
real pipeline's own times are to them what they are to a GPU's.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec
from aiokafka import TopicPartition
from msgspec import Struct

from infra.devstack.properties import BrokerSettings
from pipeline.local.cluster import LocalCluster
from pipeline.local.plan import ProcessPlan, Size
from pipeline.runtime import kafka
from pipeline.settings import KafkaSettings
from pipeline.settings.toml import dumps
from topics import names
from topics.codec import decode_workers_record
from topics.fleet import Heartbeat

STRETCH: Final = 20
WORKERS: Final = 4
PRODUCT: Final = "millrace"
"""The way of batching that is not replaced."""
READY_WITHIN_S: Final = 240.0
"""Thirty processes start at once here."""


class Way(Struct, kw_only=True, frozen=True):
    """A way of batching. It is also the name of its model.

    `policy` is one of `tests.bench.baseline_processor.NAMES`, or `PRODUCT`; `options` are its own, in real seconds.
    """

    name: str
    policy: str = PRODUCT
    options: Mapping[str, Any] = {}


class Ground(Struct, kw_only=True, frozen=True):
    """What all ways stand on.

    Attributes:
        engine: fields of a deployment.
        classes: latency classes by name, as settings have them.
        hop_ms: what processors take a hop through the broker for.
        distance_ms: of a worker from its engine.
        workers: of each way.
    """

    engine: Mapping[str, Any]
    classes: Mapping[str, Mapping[str, Any]]
    hop_ms: float = 5.0
    distance_ms: float = 0.0
    workers: int = WORKERS


def settings_text(ways: list[Way], ground: Ground) -> str:
    """The settings file of the cluster."""
    model = {"classes": sorted(ground.classes), "slots": ground.workers, "hop_ms": ground.hop_ms}
    return dumps(
        {
            "models": {way.name: {"stable": f"{way.name}@v1", **model} for way in ways},
            "deployments": {f"{way.name}@v1": ground.engine for way in ways},
            "classes": {name: {"queue_limit": 20_000, **rules} for name, rules in ground.classes.items()},
            "topics": {"response_partitions": 1},
        }
    )


@asynccontextmanager
async def side_by_side(ways: list[Way], ground: Ground) -> AsyncIterator[LocalCluster]:
    """The cluster in a temporary folder, all workers with a slot; ended with the block."""
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        config = Path(folder) / "bench.toml"
        config.write_text(settings_text(ways, ground))
        cluster = LocalCluster(
            folder=Path(folder),
            config=config,
            size=Size(workers=ground.workers),
            broker=BrokerSettings(is_short_lived=False),
            rewrite=lambda plan: _rewritten(plan, ways, ground),
        )
        try:
            await asyncio.to_thread(cluster.start)
            async with asyncio.timeout(READY_WITHIN_S):
                for way in ways:
                    await _until_slotted(cluster.settings.kafka, way.name, ground.workers)
            yield cluster
        finally:
            for child in cluster.children.values():
                child.kill()  # nobody waits for what still runs
            await asyncio.to_thread(cluster.stop)


def pids_of(cluster: LocalCluster) -> dict[str, int]:
    """Process ids by name: broker, everything that the cluster started, and this program."""
    assert cluster.broker.child is not None
    children = {name: child.pid for name, child in cluster.children.items()}
    return {**children, "broker": cluster.broker.child.pid, "load": os.getpid()}


def _rewritten(plan: ProcessPlan, ways: list[Way], ground: Ground) -> ProcessPlan:
    plan = replace(plan, ready_within_s=READY_WITHIN_S)
    python, _, module, *rest = plan.command
    if module == "pipeline.worker" and ground.distance_ms:
        distance = ("--distance-ms", str(ground.distance_ms))
        return _started(plan, (python, "-m", "tests.bench.distant_worker", *distance, *rest))
    for way in ways:
        if plan.name == f"processor-{way.name}" and way.policy != PRODUCT:
            flags: tuple[str, ...] = ("--policy", way.policy, "--options", msgspec.json.encode(way.options).decode())
            flags = (*flags, *(part for part in rest if part != "processor"))
            return _started(plan, (python, "-m", "tests.bench.baseline_processor", *flags))
    return plan


def _started(plan: ProcessPlan, command: tuple[str, ...]) -> ProcessPlan:
    return ProcessPlan(name=plan.name, command=command, ready_within_s=plan.ready_within_s)


async def _until_slotted(settings: KafkaSettings, model: str, workers: int) -> None:
    """Return when every worker of a model owns a slot."""
    place = TopicPartition(names.workers_topic(model), 0)
    consumer = kafka.consumer(settings, client_id="bench-workers")
    await consumer.start()
    try:
        consumer.assign([place])
        await consumer.seek_to_end(place)
        owned: dict[str, int] = {}
        while sum(slots > 0 for slots in owned.values()) < workers:
            for record in (await consumer.getmany(timeout_ms=500)).get(place, []):
                told = decode_workers_record(record.value)
                if isinstance(told, Heartbeat):
                    owned[told.worker] = len(told.slots) if told.state == "ready" else 0
    finally:
        await consumer.stop()
