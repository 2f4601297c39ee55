"""The engine for the process that owns it: statements without HTTP.

They have a connection and a thread of their own, apart from the pool of the clients: no client can take the owner's
place. No limits apply here.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa

from sinks.clickhouse.http.errors import from_engine
from sinks.clickhouse.http.handles import Handle
from topics.errors import TransportError

T = TypeVar("T")
Row = tuple[object, ...]


class Channel:
    """One connection with a thread of its own: calls run in the order they were made.

    A cancelled call still runs to its end. Opened by its first call.
    """

    def __init__(self, path: str, *, mark: str) -> None:
        self._path = path
        self._mark = mark
        self._handle: Handle | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"clickhouse-{mark}")

    async def run(self, work: Callable[[Handle], T], *, settings: Mapping[str, str] | None = None) -> T:
        """Run `work` on the connection in its thread, with these settings and no others.

        Raises:
            StatementError: the engine refused or failed; the connection is replaced before the next call.
            TransportError: the engine could not be opened.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work, dict(settings or {}))

    async def close(self) -> None:
        """Wait for the calls made so far, then close."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=True)

    def _run(self, work: Callable[[Handle], T], settings: dict[str, str]) -> T:
        if self._handle is None:
            self._handle = self._open()
        try:
            self._handle.prepare(None, settings)
            return work(self._handle)
        except BaseException:
            self._handle.is_dirty = True
            raise

    def _open(self) -> Handle:
        try:
            return Handle(self._path, mark=self._mark)
        except RuntimeError as error:
            raise TransportError(
                f"cannot open the ClickHouse engine at {self._path}: another process owns this path, or this process "
                f"has one open at another path; use the owner's HTTP interface ({from_engine(error).message})"
            ) from error

    def _close(self) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None


class LocalClient:
    """Statements of the owner, one after the other. Every method may be called from any task of one event loop."""

    def __init__(self, path: str) -> None:
        self._statements = Channel(path, mark="owner-statements;")

    async def execute(
        self, sql: str, *, settings: Mapping[str, str] | None = None, params: Mapping[str, str] | None = None
    ) -> None:
        """Run a statement for its effect. `params` fill `{name:Type}`."""
        await self._statements.run(lambda handle: handle.query(sql, "TabSeparated", params), settings=settings)

    async def query_arrow(
        self, sql: str, *, settings: Mapping[str, str] | None = None, params: Mapping[str, str] | None = None
    ) -> pa.Table:
        """Run a SELECT and take its whole result as an Arrow table. The statement names no FORMAT."""
        result = await self._statements.run(lambda handle: handle.query(sql, "ArrowStream", params), settings=settings)
        if not result.body:
            return pa.table({})
        return await asyncio.to_thread(lambda: pa.ipc.open_stream(result.body).read_all())

    async def query(
        self, sql: str, *, settings: Mapping[str, str] | None = None, params: Mapping[str, str] | None = None
    ) -> list[Row]:
        """Run a SELECT and take its rows as tuples of Python values: int, str, datetime, UUID, Decimal, list, None."""
        table = await self.query_arrow(sql, settings=settings, params=params)
        return list(zip(*(column.to_pylist() for column in table.columns), strict=True))

    async def close(self) -> None:
        """Wait for the calls made so far, then close the connection."""
        await self._statements.close()
