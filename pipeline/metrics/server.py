"""`/metrics` over HTTP, in a thread: the event loop only reads its own counts, and writes no text.

A loop that hangs does not answer, and the scrape fails: Prometheus' own `up` says so.
"""

import asyncio
import logging
from collections.abc import Iterable
from concurrent.futures import Future
from functools import partial
from typing import Any, Final, Self

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from pipeline.metrics.exposition import families
from pipeline.metrics.tally import Tally
from topics.errors import SettingsError

logger = logging.getLogger(__name__)

ANSWER_S: Final = 5.0
"""How long a scrape waits for the event loop: less than Prometheus waits by default."""


class MetricsServer:
    """Serves one tally, as an async context or by `start` and `stop`, on the loop that owns the tally.

    Args:
        tally: what is served.
        host: address to listen on.
        port: 0 for any free one.
    """

    def __init__(self, tally: Tally, *, host: str, port: int) -> None:
        self._tally = tally
        self._host = host
        self._port = port
        self._server: Any = None
        self._thread: Any = None

    async def start(self) -> None:
        """Listen.

        Raises:
            SettingsError: the address cannot be listened on.
        """
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_OnLoop(self._tally, asyncio.get_running_loop()))
        try:
            self._server, self._thread = start_http_server(self._port, self._host, registry)
        except OSError as error:
            raise SettingsError(
                f"metrics cannot be served on {self._host}:{self._port}: {error.strerror}; set metrics.port or "
                "--metrics-port to a free one"
            ) from error
        logger.info("metrics are served on %s", self.url)

    @property
    def url(self) -> str:
        """Where it listens; known after `start`."""
        return f"http://{self._host}:{self._server.server_port}/metrics"

    async def stop(self) -> None:
        """Listen no longer. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            await asyncio.to_thread(server.shutdown)
            await asyncio.to_thread(server.server_close)
            self._thread.join(ANSWER_S)

    async def __aenter__(self) -> Self:
        """As `start`."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """As `stop`."""
        await self.stop()


class _OnLoop(Collector):
    """Collects on the event loop for a thread that waits."""

    def __init__(self, tally: Tally, loop: asyncio.AbstractEventLoop) -> None:
        self._tally = tally
        self._loop = loop

    def collect(self) -> Iterable[Metric]:
        found: Future[list[Metric]] = Future()
        self._loop.call_soon_threadsafe(partial(self._collect, found))
        return found.result(ANSWER_S)

    def _collect(self, found: "Future[list[Metric]]") -> None:
        try:
            found.set_result(families(self._tally))
        except Exception as error:  # the scrape fails with it, the process goes on
            found.set_exception(error)
