"""A local cluster: Kafka, recorder, processors and workers as child processes, started in order and stopped in reverse.

What runs here is what runs in production, only smaller and on one machine. Several clusters can run side by side: each
has its own folder and free ports. Nothing outlives the program that started it.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Self

import msgspec

from infra.devstack.environments import ensure_engine_python
from infra.devstack.kafka import KafkaBroker
from infra.devstack.model import MODEL, ensure_model
from infra.devstack.ports import Ports
from infra.devstack.processes import Child
from infra.devstack.properties import BrokerSettings
from pipeline.local import state
from pipeline.local.plan import ProcessPlan, Size, plan
from pipeline.runtime import topics
from pipeline.runtime.process import READY_FILE
from pipeline.settings import Settings, VllmDeployment, load
from pipeline.settings.toml import dumps
from topics.catalogue import catalogue

logger = logging.getLogger(__name__)

Say = Callable[[str], None]
STOP_WITHIN_S = 30.0


class LocalCluster:
    """One cluster in one folder. Methods block; use a thread from asyncio.

    Args:
        folder: data, logs and the state file; made when missing, gone on with when there.
        config: settings file; broker and ClickHouse addresses in it are replaced by the cluster's own.
        flags: further `--set` items for every process.
        size: how many processes of each kind.
        broker: what may be chosen of the embedded broker.
        rewrite: changes how a process is started.
    """

    def __init__(
        self,
        *,
        folder: Path,
        config: Path,
        flags: tuple[str, ...] = (),
        size: Size | None = None,
        broker: BrokerSettings | None = None,
        rewrite: Callable[[ProcessPlan], ProcessPlan] | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.config = config.resolve()
        self.logs = self.folder / "logs"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._size = size or Size()
        self._ports = Ports()
        self.broker = KafkaBroker(folder=self.folder / "kafka", log=self.logs / "kafka.log", settings=broker)
        self._rewrite = rewrite
        self._flags = (*self._own_flags(), *flags)
        self.settings: Settings = load(self.config, environ={}, flags=self._flags)
        self.children: dict[str, Child] = {}
        self.metrics: dict[str, str] = {}
        """URL of the metrics of each process that has some."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, say: Say = logger.info) -> None:
        """Start everything and return when all of it serves. What was started is stopped if something fails.

        Raises:
            ChildError: a process did not get ready; the message ends with the last lines of its log.
        """
        try:
            self._start(say)
        except BaseException:
            self.stop()
            raise

    def stop(self, say: Say = logger.info) -> None:
        """Stop everything, last started first. Idempotent."""
        for name, child in reversed(self.children.items()):
            if child.alive:
                say(f"stopping {name}")
            child.stop()
        self.broker.close()
        self._ports.release()
        state.remove(self.folder)

    def revive(self) -> list[str]:
        """Start what has ended again; only the broker is waited for. Returns the names of what was started.

        What ended without an error was asked to, as a worker that was drained, and stays ended.
        """
        if not self.broker.alive:
            self.broker.start()
            return ["kafka", *self.revive()]
        ended = [name for name, child in self.children.items() if not child.alive and child.returncode != 0]
        for name in ended:
            self._ready_file(name).unlink(missing_ok=True)
            self.children[name].spawn()
        if ended:
            self._publish()
        return ended

    def restart(self, name: str) -> None:
        """Start one process that has ended, and wait until it serves."""
        self._ready_file(name).unlink(missing_ok=True)
        self.children[name].start()
        self._publish()

    def names(self, kind: str) -> list[str]:
        """Names of the processes of a kind: recorder, processor or worker."""
        return [name for name in self.children if name.startswith(kind)]

    @property
    def environment(self) -> dict[str, str]:
        """Variables that point any Millrace command at this cluster."""
        return self._state().environment

    def _start(self, say: Say) -> None:
        engine_python = self._prepare_engines()
        say("starting Apache Kafka")
        self.broker.start()
        asyncio.run(topics.create(self.settings.kafka, catalogue(self.settings.layout())))
        plans = plan(self.settings, size=self._size, config=self.config, flags=self._flags, engine_python=engine_python)
        for process in plans:
            say(f"starting {process.name}")
            self.children[process.name] = child = self._child(self._rewrite(process) if self._rewrite else process)
            child.spawn()
        for name, child in self.children.items():
            child.wait_ready()
            say(f"{name} is ready")
        self._publish()

    def _prepare_engines(self) -> Path | None:
        """Environment and model of real engines, made once a machine. The model known by name becomes its folder."""
        python = None
        for name, deployment in self.settings.deployments.items():
            if not isinstance(deployment, VllmDeployment):
                continue
            python = ensure_engine_python()
            if deployment.path == MODEL:
                self._flags += (f'deployments."{name}".path="{ensure_model()}"',)
        self.settings = load(self.config, environ={}, flags=self._flags)
        return python

    def _child(self, process: ProcessPlan) -> Child:
        ready = self._ready_file(process.name)
        ready.parent.mkdir(exist_ok=True)
        ready.unlink(missing_ok=True)
        return Child(
            name=process.name,
            command=(*process.command, *self._metrics_flags(process)),
            log=self.logs / f"{process.name}.log",
            ready=lambda _: ready.exists(),
            ready_within_s=process.ready_within_s,
            stop_within_s=STOP_WITHIN_S,
            env={READY_FILE: str(ready)},
        )

    def _metrics_flags(self, process: ProcessPlan) -> tuple[str, ...]:
        port = self._ports.claim()
        self.metrics[process.name] = f"http://{self.settings.metrics.host}:{port}/metrics"
        return ("--metrics-port", str(port))

    def _own_flags(self) -> tuple[str, ...]:
        return (
            f'kafka.brokers="{self.broker.bootstrap}"',
            'clickhouse.url="embedded"',
            f"clickhouse.port={self._ports.claim()}",
            f'clickhouse.path="{self.folder / "clickhouse"}"',
        )

    def _ready_file(self, name: str) -> Path:
        return self.folder / "ready" / name

    def _state(self) -> state.ClusterState:
        return state.ClusterState(
            pid=os.getpid(),
            started_s=state.began_at(os.getpid()) or 0.0,
            config=str(self._resolved),
            kafka=self.broker.bootstrap,
            clickhouse=self.settings.clickhouse.http_url,
            logs=str(self.logs),
            processes={name: child.pid for name, child in self.children.items() if child.alive},
            metrics=self.metrics,
        )

    @property
    def _resolved(self) -> Path:
        return self.folder / "millrace.toml"

    def _publish(self) -> None:
        """Let other programs find the cluster, with the settings that its processes have, flags and all."""
        self._resolved.write_text(dumps(msgspec.to_builtins(self.settings)))
        state.write(self.folder, self._state())
