"""The embedded engine as a store: the recorder owns it and writes to it directly, without HTTP.

Inserts go through a file (`INSERT … FROM INFILE`) and not through chDB's streaming insert: chDB 26.9 reports a
streaming insert as done although the table refused it after its rows were parsed (seen with a constraint).
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from sinks.clickhouse.http import EmbeddedServer, StatementError
from sinks.clickhouse.store import (
    DATA_ERRORS,
    INSERT_SETTINGS,
    PASSING_ERRORS,
    InsertRefused,
    StatementRefused,
    StoreAway,
)

SPOOL_FILE: Final = "recorder-insert.arrow"
PATIENCE_S: Final = 1.0
"""Longest wait of an insert for clients."""


class EmbeddedStore:
    """A store over an engine of this process.

    Args:
        server: started and stopped by its owner.
        folder: where the rows of one insert lie while it runs; the engine's own will do.
    """

    def __init__(self, server: EmbeddedServer, folder: Path) -> None:
        self._server = server
        self._spool = folder / SPOOL_FILE
        self._one_at_a_time = asyncio.Lock()
        self._took_s = 0.0

    async def execute(self, sql: str) -> None:
        """`Store.execute`."""
        try:
            await self._server.execute(sql)
        except StatementError as error:
            raise _failure(error) from error

    async def query(self, sql: str) -> list[tuple[Any, ...]]:
        """`Store.query`."""
        try:
            return await self._server.query(sql)
        except StatementError as error:
            raise _failure(error) from error

    async def insert(self, table: str, rows: pa.Table, *, token: str) -> None:
        """`Store.insert`.

        The token is not used: without replication, the engine's deduplication log is written before the part is
        committed, and a process that is killed in between loses the rows of the retry.
        """
        columns = ", ".join(f"`{name}`" for name in rows.column_names)
        sql = f"INSERT INTO {table} ({columns}) FROM INFILE {_literal(self._spool)} FORMAT ArrowStream"
        async with self._one_at_a_time, self._after_clients():
            try:
                await asyncio.to_thread(_write, self._spool, rows)
                await self._server.execute(sql, settings=INSERT_SETTINGS)
            except StatementError as error:
                if error.engine_code in DATA_ERRORS:
                    raise InsertRefused(error.message) from error
                raise StoreAway(error.message) from error
            except OSError as error:
                raise StoreAway(f"cannot write {self._spool}: {error.strerror}") from error

    @asynccontextmanager
    async def _after_clients(self) -> AsyncIterator[None]:
        """Who asks comes first: wait for clients' statements, but no longer than the last insert took. So a recorder
        that is behind keeps half of its speed, whatever they ask.
        """
        await self._server.until_quiet(min(self._took_s, PATIENCE_S))
        began_s = time.monotonic()
        yield
        self._took_s = time.monotonic() - began_s

    async def settle(self) -> None:
        """`Store.settle`: an insert that has returned is decided."""

    async def close(self) -> None:
        """`Store.close`: takes the file away; the engine belongs to its owner."""
        await asyncio.to_thread(self._spool.unlink, missing_ok=True)


def _write(path: Path, rows: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, rows.schema) as writer:
        writer.write_table(rows.combine_chunks())


def _literal(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _failure(error: StatementError) -> StatementRefused | StoreAway:
    kind = StoreAway if error.engine_code in PASSING_ERRORS else StatementRefused
    return kind(error.message)
