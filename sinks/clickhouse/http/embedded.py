"""The embedded account: one process owns the engine's path, uses it directly and serves it to everyone else over HTTP.

Composes `local` (the owner's way in), `pool` and `interface` (everyone else's). chDB opens one path per process, once.
"""

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
from aiohttp import web

from sinks.clickhouse.http.access import Access, User
from sinks.clickhouse.http.bodies import PIECE_BYTES
from sinks.clickhouse.http.interface import HttpInterface
from sinks.clickhouse.http.limits import CONFIG_FILE, Limits
from sinks.clickhouse.http.local import Channel, LocalClient, Row
from sinks.clickhouse.http.pool import HandlePool
from sinks.clickhouse.http.priority import FIRST_TABLE, let_merges_wait, merge_threads
from sinks.clickhouse.http.running import RunningStatements
from topics.errors import TransportError

logger = logging.getLogger(__name__)

DEFAULT_POOL = 8
POOL_WAIT_S = 30.0
SHUTDOWN_S = 1.0


class EmbeddedServer:
    """A ClickHouse for this process and, over HTTP, for every other.

    Args:
        path: the engine's directory, made if it is missing; locked while the server runs.
        host: interface to listen on. Statements of clients may read this machine's files (`file()`): keep it local, or
            trust the users.
        port: 0 picks a free one, see `port`.
        users: who may ask over HTTP; by default `default` without a password.
        database: where statements without one run; made (engine Atomic) if it is missing.
        pool: statements of clients that run at once, of those that may write and of those that may not.
        limits: of clients' statements.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        users: Sequence[User] = (User(name="default"),),
        database: str = "default",
        pool: int = DEFAULT_POOL,
        limits: Limits | None = None,
    ) -> None:
        self._path = str(path)
        self._host = host
        self._port = port
        self._access = Access(users)
        self._database = database
        self._pool_size = pool
        self._limits = limits or Limits()
        self._local = LocalClient(self._path)
        self._control = Channel(self._path, mark="owner-control;")
        self._pool: HandlePool | None = None
        self._runner: web.AppRunner | None = None

    @property
    def port(self) -> int:
        """The port listened on; before `start`, the one asked for."""
        return self._port

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        """Open the engine and listen.

        Raises:
            TransportError: the path belongs to another process, or the port does.
        """
        await asyncio.to_thread(self._configure)
        ((timezone,),) = await self._local.query("SELECT timezone()")
        if self._database != "default":
            await self._local.execute(f"CREATE DATABASE IF NOT EXISTS `{self._database}` ENGINE = Atomic")
        await self._bound_clients()
        await self._let_merges_wait()
        running = RunningStatements(self._control)
        self._pool = HandlePool(
            path=self._path, limits=self._limits, size=self._pool_size, wait_s=POOL_WAIT_S, kill=running.kill
        )
        interface = HttpInterface(
            pool=self._pool,
            access=self._access,
            running=running,
            limits=self._limits,
            database=self._database,
            timezone=str(timezone),
        )
        await self._listen(interface)
        logger.info("serving the embedded ClickHouse at %s from %s", self.url, self._path)

    async def stop(self) -> None:
        """Refuse new requests, end the running ones, wait for their writes, close the engine. Idempotent."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._pool is not None:
            await self._pool.close()
            self._pool = None
            await self._control.close()
            await self._local.close()

    async def execute(
        self, sql: str, *, settings: Mapping[str, str] | None = None, params: Mapping[str, str] | None = None
    ) -> None:
        """`LocalClient.execute`: run a statement for its effect."""
        await self._local.execute(sql, settings=settings, params=params)

    async def query(
        self, sql: str, *, settings: Mapping[str, str] | None = None, params: Mapping[str, str] | None = None
    ) -> list[Row]:
        """`LocalClient.query`: rows of a SELECT as tuples."""
        return await self._local.query(sql, settings=settings, params=params)

    async def query_arrow(
        self, sql: str, *, settings: Mapping[str, str] | None = None, params: Mapping[str, str] | None = None
    ) -> pa.Table:
        """`LocalClient.query_arrow`: the result of a SELECT as an Arrow table."""
        return await self._local.query_arrow(sql, settings=settings, params=params)

    async def until_quiet(self, within_s: float) -> bool:
        """Wait until no client's statement runs, so many seconds at most. Returns whether it came to that."""
        return self._pool is None or await self._pool.until_quiet(within_s)

    def _configure(self) -> None:
        folder = Path(self._path)
        folder.mkdir(parents=True, exist_ok=True)
        merges = merge_threads(os.cpu_count() or 1)
        (folder / CONFIG_FILE).write_text(self._limits.config(folder.resolve(), merge_threads=merges))

    async def _bound_clients(self) -> None:
        rows = await self._local.query(
            "SELECT value FROM system.server_settings WHERE name = 'max_server_memory_usage'"
        )
        engine_bytes = int(str(rows[0][0])) if rows else 0
        for statement in self._limits.workload(engine_bytes):
            await self._local.execute(statement)

    async def _let_merges_wait(self) -> None:
        for statement in FIRST_TABLE:
            await self._local.execute(statement)
        let_merges_wait()

    async def _listen(self, interface: HttpInterface) -> None:
        self._runner = web.AppRunner(
            interface.application(),
            access_log=None,
            auto_decompress=False,
            handler_cancellation=True,
            read_bufsize=PIECE_BYTES,
            shutdown_timeout=SHUTDOWN_S,
        )
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self.stop()
            raise TransportError(f"cannot listen on {self._host}:{self._port}: {error}; choose another port") from error
        self._port = self._runner.addresses[0][1]
