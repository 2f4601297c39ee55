"""The engine for the process that owns it: statements and Arrow inserts without HTTP.

Statements and inserts have a connection and a thread each, apart from each other and from the pool of the clients: a
rollup does not delay an insert, and no client can take the owner's place. No limits apply here.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa

from sinks.clickhouse.http.errors import StatementError, from_engine
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
    """Statements and inserts of the owner. Every method may be called from any task of one event loop."""

    def __init__(self, path: str) -> None:
        self._statements = Channel(path, mark="owner-statements;")
        self._inserts = Channel(path, mark="owner-inserts;")

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

    async def insert_arrow(self, table: str, rows: pa.Table, *, settings: Mapping[str, str] | None = None) -> int:
        """Insert the columns of `rows` by name: one INSERT, which makes one part per partition of the table.

        Args:
            table: `name` or `database.name`.
            rows: converted to the table's types by the engine; columns that the table has besides get their defaults.
            settings: of this INSERT.

        Returns:
            Rows written.

        Raises:
            StatementError: nothing was inserted, unless the rows span several partitions of the table. A cancelled call
                may or may not have inserted.
        """
        return await self._inserts.run(lambda handle: _insert(handle, table, rows), settings=settings)

    async def close(self) -> None:
        """Wait for the calls made so far, then close both connections."""
        await self._inserts.close()
        await self._statements.close()


def _insert(handle: Handle, table: str, rows: pa.Table) -> int:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows.combine_chunks())
    name = ".".join(_quoted(part) for part in table.split("."))
    columns = ", ".join(_quoted(column) for column in rows.column_names)
    try:
        handle.open_insert(f"INSERT INTO {name} ({columns})", "ArrowStream")
        handle.append(sink.getvalue().to_pybytes())
        return handle.finish_insert().written_rows
    except StatementError:
        handle.abort()
        raise


def _quoted(name: str) -> str:
    return "`" + name.strip("`").replace("`", "\\`") + "`"
