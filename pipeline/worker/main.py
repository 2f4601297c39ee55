"""The worker process: composition root. Connects, loads the engine, joins the group, works, drains, leaves.

It runs in the engine's environment too: neither Faust nor chDB is imported.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from pipeline.engines.protocol import Engine
from pipeline.metrics import process as metrics
from pipeline.metrics.tally import Tally
from pipeline.runtime import kafka
from pipeline.runtime.process import announce_ready, settle_memory
from pipeline.runtime.tracing import TraceShipper
from pipeline.settings import Deployment, Settings, SimulatedDeployment
from pipeline.worker.assignment import SlotAssignor
from pipeline.worker.core import WorkerCore
from pipeline.worker.devices import gpu_type
from pipeline.worker.effects import Leave
from pipeline.worker.gpu_time import GpuTime
from pipeline.worker.orders import orders
from pipeline.worker.rows import Identity, Rows
from pipeline.worker.shell import Clients, Worker
from pipeline.worker.supervisor import EngineSupervisor
from topics import names
from topics.errors import EngineDead, SettingsError, TransportError
from topics.fleet import EngineKind, EngineMode

logger = logging.getLogger(__name__)

GRACE_S: Final = 20.0
LEAVE_S: Final = 5.0
CANCEL_AGAIN_S: Final = 1.0
FOLLOWED_BYTES: Final = 8 << 20
"""Of one fetch of answers that are read from the log: a take-over reads a stretch of a partition before it goes on."""
HEARTBEAT_MS: Final = 300
"""Of the group. In a rebalance nobody reads its slots before the last member has heard of it by a heartbeat."""


async def main(
    settings: Settings,
    deployment: str,
    stop: asyncio.Event,
    *,
    worker_id: str | None = None,
    grace_s: float = GRACE_S,
    make_engine: Callable[[Deployment], Callable[[int], Engine]] | None = None,
) -> int:
    """Work until told to stop.

    Args:
        settings: resolved.
        deployment: which one of them, `model@version`.
        stop: set to drain and end.
        worker_id: name in heartbeats and in the account; made up if none is given.
        grace_s: how long running requests may take to finish after `stop`; the rest is handed back. A drain that an
            operator asks for brings its own.
        make_engine: makes the engines of a deployment, by their life, in place of the usual ones.

    Returns:
        Exit code: 0 after a drain, 1 when it could not go on.

    Raises:
        SettingsError: the settings have no such deployment.
    """
    if deployment not in settings.deployments:
        known = ", ".join(sorted(settings.deployments)) or "none"
        raise SettingsError(f"deployment {deployment!r} is not configured; there are: {known}")
    identity = Identity(
        worker=worker_id or f"worker-{secrets.token_hex(4)}", run=secrets.token_hex(8), deployment=deployment
    )
    try:
        tally = metrics.tally_of(settings, "worker")
        async with _connected(settings, identity, tally) as (clients, shipper), contextlib.AsyncExitStack() as stack:
            maker = (make_engine or engine_maker)(settings.deployments[deployment])
            worker = await _worker(identity, settings, clients, maker)
            if tally is not None:
                _tell(tally, worker, identity)
                await metrics.serve(settings.metrics, tally, stack)
            reader = orders(settings.kafka, identity, worker.leave)
            stack.push_async_callback(reader.stop)
            await reader.start()
            await _work(worker, stop, shipper=shipper, grace_s=grace_s)
    except (EngineDead, TransportError) as error:
        logger.error("worker %s cannot go on: %s", identity.worker, error.message)
        return 1
    return 0


@contextlib.asynccontextmanager
async def _connected(
    whole: Settings, identity: Identity, tally: Tally | None
) -> AsyncIterator[tuple[Clients, TraceShipper]]:
    """All connections; what is left of the trace is shipped at the end."""
    settings = whole.kafka
    client_id = f"millrace-worker-{identity.worker}"
    group = f"millrace.{identity.deployment.replace('@', '.')}"
    answers = kafka.producer(settings, client_id=f"{client_id}-answers")
    signals = kafka.producer(settings, client_id=f"{client_id}-signals")
    trace = kafka.producer(settings, client_id=f"{client_id}-trace")
    assignor = SlotAssignor()
    consumer = kafka.consumer(
        settings,
        group=group,
        client_id=client_id,
        heartbeat_interval_ms=min(HEARTBEAT_MS, settings.session_timeout_ms // 3),
        partition_assignment_strategy=[assignor],
    )
    shipper = metrics.shipper_of(whole, trace, process=identity.run, tally=tally)
    async with contextlib.AsyncExitStack() as stack:
        for client in (answers, signals, trace, consumer, shipper):
            stack.push_async_callback(partial(_leave, consumer) if client is consumer else client.stop)
            await client.start()
        await _check_topics(answers, identity)
        yield (
            Clients(
                consumer=consumer,
                assignor=assignor,
                answers=answers,
                signals=signals,
                trace=shipper,
                make_reader=partial(
                    kafka.consumer,
                    settings,
                    client_id=f"{client_id}-followed",
                    max_partition_fetch_bytes=FOLLOWED_BYTES,
                ),
            ),
            shipper,
        )


async def _leave(consumer: AIOKafkaConsumer) -> None:
    """Stop the consumer. One whose fetching has failed raises that again before its connections are closed."""
    try:
        await consumer.stop()
    except KafkaError as error:
        logger.warning("left a client that had failed: %r", error)
        await consumer._client.close()


async def _check_topics(producer: AIOKafkaProducer, identity: Identity) -> None:
    """Fail early and with a name, instead of at the first record for a topic that is missing."""
    wanted = (
        names.dispatch_topic(identity.deployment),
        names.workers_topic(identity.model),
        names.returns_topic(identity.model),
        names.CONTROL,
        names.DEAD_LETTERS,
        names.TRACE,
    )
    present = await producer.client.fetch_all_metadata()
    missing = [topic for topic in wanted if not present.partitions_for_topic(topic)]
    if missing:
        raise TransportError(f"topics are missing: {', '.join(missing)}; make them with `millrace topics create`")


async def _worker(
    identity: Identity, settings: Settings, clients: Clients, make_engine: Callable[[int], Engine]
) -> Worker:
    deployment = settings.deployments[identity.deployment]
    returns = await clients.answers.partitions_for(names.returns_topic(identity.model))
    core = WorkerCore(
        identity,
        new_id=lambda: secrets.token_hex(6),
        return_partitions=len(returns),
        longest_deadline_s=settings.layout().longest_deadline_ms / 1000,
        texts=settings.text_rules(),
    )
    worker = Worker(
        identity,
        clients=clients,
        engine=_kind(deployment),
        mode=_mode(deployment),
        core=core,
        rows=Rows(identity),
        gpu_time=GpuTime(
            identity,
            gpu=gpu_type(deployment),
            gpus=1 if isinstance(deployment, SimulatedDeployment) else deployment.tensor_parallel,
            now_ns=time.monotonic_ns(),
            now_us=time.time_ns() // 1000,
        ),
    )
    worker.supervisor = EngineSupervisor(
        make_engine,
        deliver=worker.deliver,
        on_ready=worker.on_engine_ready,
        on_dead=worker.on_engine_dead,
        now_s=time.monotonic,
        step_limit_s=deployment.step_limit_s,
    )
    return worker


def _tell(tally: Tally, worker: Worker, identity: Identity) -> None:
    """Let a tally ask what the worker knows at that moment."""
    me = (identity.deployment, identity.worker)

    def running() -> dict[tuple[str, ...], float]:
        engine = worker.supervisor.engine if worker.supervisor is not None else None
        return {me: float(engine.load().running) if engine is not None else 0.0}

    tally.ask("millrace_running", running)
    tally.ask(
        "millrace_dead_letters_total",
        lambda: {("worker", code): float(count) for code, count in worker.core.dead_letters.items()},
    )


def _kind(deployment: Deployment) -> EngineKind:
    return "simulated" if isinstance(deployment, SimulatedDeployment) else "vllm"


def _mode(deployment: Deployment) -> EngineMode:
    return deployment.mode if isinstance(deployment, SimulatedDeployment) else "continuous"


def engine_maker(deployment: Deployment) -> Callable[[int], Engine]:
    """Makes engines of the deployment; its library is loaded by the first one."""
    if isinstance(deployment, SimulatedDeployment):
        from pipeline.engines.simulated import SimulatedEngine

        return lambda life: SimulatedEngine(deployment, life=life)
    from pipeline.engines.vllm.engine import VllmEngine

    return lambda _: VllmEngine(deployment)


async def _work(worker: Worker, stop: asyncio.Event, *, shipper: TraceShipper, grace_s: float) -> None:
    """Everything between the connections: load, join, work, drain.

    Raises:
        EngineDead: it has drained because its engine kills what it is given.
    """
    assert worker.supervisor is not None
    stopping = asyncio.ensure_future(_stopping(stop, worker, grace_s))
    tasks = [_task(worker, "pulse", worker.pulse.run()), _task(worker, "publisher", worker.publisher.run())]
    tasks.append(_task(worker, "supervisor", worker.supervisor.run()))
    try:
        await _first(asyncio.ensure_future(worker.is_ready.wait()), stopping, worker.failure, shipper.failed)
        if not stopping.done():
            intake = _task(worker, "intake", worker.intake.run())
            committer = _task(worker, "committer", worker.committer.run(worker.group))
            tasks += [intake, committer, _task(worker, "tail", worker.tail.run())]
            settle_memory()
            announce_ready()
            logger.info("ready")
            await _first(stopping, worker.failure, shipper.failed)
            await worker.drain(stopping.result().grace_s)
            await _cancel(intake, committer)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(shipper.wait_delivered(shipper.mark), LEAVE_S)
            await worker.committer.commit(worker.group)
        worker.state = "stopped"
        await worker.pulse.beat()
        worker.tell_gpu_time()
    finally:
        stopping.cancel()
        await _cancel(*tasks)
    if stopping.result().is_failure:
        raise EngineDead(stopping.result().reason)


async def _stopping(stop: asyncio.Event, worker: Worker, grace_s: float) -> Leave:
    """Why and how to drain, once there is a reason: a signal, an operator's order, or the worker's own decision."""
    signalled = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((signalled, worker.leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        signalled.cancel()
    leave = worker.leaving.result() if worker.leaving.done() else Leave(grace_s=grace_s, reason="it was asked to stop")
    logger.info("drains within %g s: %s", leave.grace_s, leave.reason)
    return leave


def _task(worker: Worker, name: str, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    """A part that has to run as long as the worker does."""
    task = asyncio.create_task(work, name=name)

    def on_done(done: "asyncio.Task[None]") -> None:
        if not done.cancelled() and not worker.failure.done():
            error = done.exception() or TransportError(f"{name} ended by itself")
            worker.failure.set_exception(error)

    task.add_done_callback(on_done)
    return task


async def _first(*waits: "asyncio.Future[Any]") -> None:
    """Return when one of them is done, and raise if that one failed."""
    done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in done:
        wait.result()


async def _cancel(*tasks: "asyncio.Task[None]") -> None:
    """End tasks, whatever becomes of the first try: Python 3.11 loses a cancellation that meets the end of a wait."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)
