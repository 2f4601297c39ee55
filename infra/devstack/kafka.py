"""A real single-node Apache Kafka as a child process: formatted, started, ready, killed, restarted on the same data.

It is the broker that production runs, not an imitation; only its configuration is small. No topics are made here.
"""

import asyncio
import base64
import subprocess
import uuid
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from infra.devstack.jars import java, kafka_jars
from infra.devstack.ports import Ports, is_listening
from infra.devstack.processes import Child, ChildError
from infra.devstack.properties import BrokerSettings, format_flags, java_flags, server_properties

_LOG_CONFIG = Path(__file__).with_name("kafka-log4j2.properties")
_PROBE_MS = 5_000

T = TypeVar("T")


class KafkaBroker:
    """One broker on 127.0.0.1, on ports and a folder that stay the same over restarts.

    All methods block and may be called from any thread, one at a time. What clients see of `kill` and `start` is a
    broker that died and came back: every acknowledged record is there.

    Args:
        folder: configuration and data; made when missing, used as it is when it holds a formatted broker.
        log: file of the broker's log.
        settings: what may be chosen.
    """

    def __init__(self, *, folder: Path, log: Path, settings: BrokerSettings | None = None) -> None:
        self._settings = settings or BrokerSettings()
        self._config = folder / "server.properties"
        self._data = folder / "data"
        self._ports = Ports()
        self.port = self._ports.claim()
        self._controller_port = self._ports.claim()
        self.log = log
        self.child: Child | None = None

    @property
    def bootstrap(self) -> str:
        """`host:port`, for `bootstrap_servers` of any client."""
        return f"127.0.0.1:{self.port}"

    @property
    def alive(self) -> bool:
        """Whether the broker's process runs."""
        return self.child is not None and self.child.alive

    def start(self) -> None:
        """Start the broker and wait until it answers metadata requests and names itself as a live broker.

        Raises:
            ChildError: it runs already, ended early or was not ready within 60 s.
            JarMismatchError: the jars are not the locked ones.
        """
        jars = kafka_jars()
        self._data.mkdir(parents=True, exist_ok=True)
        self._config.write_text(self._properties())
        if not (self._data / "meta.properties").exists():
            self._format(jars)
        self.child = self.child or self._as_child(jars)
        self.child.start()

    def stop(self) -> None:
        """Stop in order (SIGTERM, 0.4 s); data and ports are kept. Idempotent."""
        if self.child is not None:
            self.child.stop()

    def kill(self) -> None:
        """`kill -9`; data and ports are kept. Idempotent."""
        if self.child is not None:
            self.child.kill()

    def restart(self) -> None:
        """Stop and start on the same ports and data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop and give the ports back; it cannot be started again."""
        self.stop()
        self._ports.release()

    def _format(self, jars: Path) -> None:
        cluster_id = _cluster_id()
        tool = ("kafka.tools.StorageTool", "format", "--cluster-id", cluster_id, "--config", str(self._config))
        command = [str(java()), *format_flags(log_config=_LOG_CONFIG), "-cp", f"{jars}/*", *tool]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ChildError(f"formatting {self._data} for Kafka failed: {done.stdout}{done.stderr}")

    def _as_child(self, jars: Path) -> Child:
        flags = java_flags(self._settings, log_config=_LOG_CONFIG)
        return Child(
            name="kafka",
            command=[java(), *flags, "-cp", f"{jars}/*", "kafka.Kafka", self._config],
            log=self.log,
            ready=lambda _: self._answers(),
        )

    def _properties(self) -> str:
        return server_properties(self._settings, port=self.port, controller_port=self._controller_port, data=self._data)

    def _answers(self) -> bool:
        # The cheap question first: a client that finds nobody logs an error.
        return is_listening(self.port) and in_own_loop(_names_a_broker(self.bootstrap))


def _cluster_id() -> str:
    """22 characters of URL-safe base64; none begins with a hyphen, which would read as an option."""
    while (drawn := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return drawn


def in_own_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in an event loop and thread of its own: for blocking code that an event loop calls."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, work).result()


async def _names_a_broker(bootstrap: str) -> bool:
    """Whether cluster metadata lists a broker: only registered ones that are not fenced are in it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=_PROBE_MS)
    try:
        await admin.start()
        cluster = await admin.describe_cluster()
        return bool(cluster["brokers"])
    except KafkaError:
        return False
    finally:
        await admin.close()
