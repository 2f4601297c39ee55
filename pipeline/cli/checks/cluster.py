"""The cluster: broker, topics, ClickHouse, workers, clocks. Nothing is written to any of them."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

from aiokafka.errors import KafkaError

from pipeline.cli import account
from pipeline.cli.checks.check import Check, fail, ok, warn
from pipeline.cli.probe import Probe
from pipeline.cli.snapshot import Snapshot, WorkerStatus, serving
from pipeline.runtime import topics
from pipeline.runtime.topics import Finding
from pipeline.settings import ClickHouseSettings, Settings
from topics import names
from topics.catalogue import catalogue
from topics.errors import PipelineError

LISTEN_S: Final = 1.0
"""For heartbeats, which come at least every 0.2 s."""
CLOCK_OK_MS: Final = 500
CLOCK_BAD_MS: Final = 5000


async def cluster_checks(settings: Settings) -> AsyncIterator[Check]:
    """All checks that need a cluster; without a broker those that depend on it are left out."""
    try:
        async with Probe(settings) as probe:
            yield ok("Kafka", f"{settings.kafka.brokers} answers")
            yield topics_check(await topics.verify(settings.kafka, catalogue(settings.layout())))
            snapshot = await probe.take()
            for check in worker_checks(settings, snapshot):
                yield check
            yield clock_check(await probe.clock_ahead_ms(within_s=LISTEN_S), snapshot.workers)
    except KafkaError as error:
        yield fail(
            "Kafka",
            f"{settings.kafka.brokers} does not answer ({type(error).__name__})",
            mend="`millrace up` and `millrace env`, or point MILLRACE_KAFKA at your cluster",
        )
    yield await asyncio.to_thread(clickhouse_check, settings.clickhouse)


def topics_check(findings: Sequence[Finding]) -> Check:
    """Whether the topics are there and as they should be."""
    missing = [found.topic.name for found in findings if found.partitions == 0]
    small = [found.topic.name for found in findings if 0 < found.partitions < found.topic.partitions]
    odd = [f"{found.topic.name}: {', '.join(found.differences)}" for found in findings if found.differences]
    if missing or small:
        said = [f"{len(missing)} missing ({_some(missing)})"] if missing else []
        said += [f"{len(small)} with too few partitions ({_some(small)})"] if small else []
        return fail("topics", ", ".join(said), mend="millrace topics create")
    if odd:
        return warn("topics", _some(odd), mend="`millrace topics verify` lists them; change with kafka-configs.sh")
    return ok("topics", f"all {len(findings)} as the settings want them")


def worker_checks(settings: Settings, snapshot: Snapshot) -> Iterator[Check]:
    """Whether every model has somebody to answer, and somebody takes work off its lanes."""
    for model in sorted(settings.models):
        mine = [worker for worker in snapshot.workers if names.model_of(worker.deployment) == model]
        yield workers_check(model, settings.models[model].stable, mine)


def workers_check(model: str, stable: str, workers: Sequence[WorkerStatus]) -> Check:
    """The workers of one model."""
    name = f"workers {model}"
    ready = serving(workers)
    if ready:
        return ok(name, f"{len(ready)} ready, {sum(worker.free_sequences for worker in ready)} sequences free")
    if workers:
        states = ", ".join(f"{w.worker} is {'stale' if w.is_stale else w.state}" for w in workers)
        return warn(name, f"none is ready: {states}", mend="wait until it has loaded its model, or read its log")
    return fail(name, "none has sent a heartbeat in the last 10 s", mend=f"millrace worker --deployment {stable}")


def clock_check(ahead_ms: int | None, workers: Sequence[WorkerStatus]) -> Check:
    """Clocks against the broker's, in which deadlines count: this machine's, and those of the workers."""
    if ahead_ms is None:
        return warn("clock", "not compared: no worker sends heartbeats", mend="start a worker and look again")
    clocks = {"this machine": ahead_ms, **{worker.worker: worker.clock_ahead_ms for worker in workers}}
    worst = max(clocks, key=lambda name: abs(clocks[name]))
    if abs(clocks[worst]) <= CLOCK_OK_MS:
        return ok("clock", f"{len(clocks)} clocks within {abs(clocks[worst])} ms of the broker's")
    found = f"{worst} differs most from the broker: {clocks[worst]:+} ms"
    mend = "synchronise the clocks (NTP); deadlines and latencies are off by as much"
    return (warn if abs(clocks[worst]) <= CLOCK_BAD_MS else fail)("clock", found, mend=mend)


def clickhouse_check(settings: ClickHouseSettings) -> Check:
    """Whether the account answers and has this release's schema. Blocks."""
    try:
        with account.account(settings) as client:
            missing = account.missing_migrations(client)
            version = client.server_version
    except PipelineError as error:
        mend = "start the recorder: it serves the embedded engine" if settings.is_embedded else "check clickhouse.url"
        return fail("ClickHouse", error.message, mend=mend)
    if missing:
        return fail(
            "ClickHouse", f"schema lacks {_some(missing)}", mend="start the recorder: it migrates when it starts"
        )
    return ok("ClickHouse", f"{settings.http_url} answers, {version}, schema up to date")


def _some(words: Sequence[str]) -> str:
    return ", ".join(words[:3]) + (f" and {len(words) - 3} more" if len(words) > 3 else "")
