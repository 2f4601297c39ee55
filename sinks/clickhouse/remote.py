"""A ClickHouse server as a store, over its HTTP interface.

aiohttp and not clickhouse-connect: that one sends an insert again by itself when the connection is reset, and a server
behind a proxy may have executed it. Here nothing is sent twice unasked.
"""

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import pyarrow as pa

from sinks.clickhouse.store import (
    DATA_ERRORS,
    INSERT_SETTINGS,
    PASSING_ERRORS,
    InsertRefused,
    StatementRefused,
    StoreAway,
)
from topics.arrow import stream

EXECUTION_S: Final = 60
"""The server gives up a statement after so long; `ANSWER_S` is longer, so that a silent server has decided."""
ANSWER_S: Final = 90.0
SETTLE_S: Final = 0.2
SETTLE_TRIES: Final = 25
_MESSAGE_CHARS: Final = 500


class RemoteStore:
    """A store over HTTP.

    Args:
        url: `http://host:8123` or `https://…`.
        user: name; `password` may be empty.
        password: sent as a header.
    """

    def __init__(self, url: str, *, user: str, password: str) -> None:
        self._url = url.rstrip("/") + "/"
        self._headers = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}
        self._session: aiohttp.ClientSession | None = None
        self._insert_id = ""

    async def execute(self, sql: str) -> None:
        """`Store.execute`."""
        await self._post(sql.encode())

    async def query(self, sql: str) -> list[tuple[Any, ...]]:
        """`Store.query`."""
        body = await self._post(f"{sql} FORMAT ArrowStream".encode())
        if not body:
            return []
        table = pa.ipc.open_stream(body).read_all()
        return list(zip(*(column.to_pylist() for column in table.columns), strict=True))

    async def insert(self, table: str, rows: pa.Table, *, token: str) -> None:
        """`Store.insert`."""
        self._insert_id = str(uuid.uuid4())
        columns = ", ".join(f"`{name}`" for name in rows.column_names)
        settings = {
            **INSERT_SETTINGS,
            "query": f"INSERT INTO {table} ({columns}) FORMAT ArrowStream",
            "query_id": self._insert_id,
            "insert_deduplication_token": token,
            "max_execution_time": str(EXECUTION_S),
        }
        try:
            await self._post(stream(rows.combine_chunks()), settings)
        except StatementRefused as error:
            if isinstance(error, InsertRefused):
                raise
            raise StoreAway(error.message) from error

    async def settle(self) -> None:
        """`Store.settle`: wait until the server does not run the last insert any more."""
        for _ in range(SETTLE_TRIES):
            ((running,),) = await self.query(
                f"SELECT count() FROM system.processes WHERE query_id = '{self._insert_id}'"
            )
            if not running:
                return
            await asyncio.sleep(SETTLE_S)
        raise StoreAway(f"the server still runs insert {self._insert_id}")

    async def close(self) -> None:
        """`Store.close`."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _post(self, body: bytes, settings: Mapping[str, str] | None = None) -> bytes:
        """Answer of one statement. `wait_end_of_query` makes the status tell what became of it."""
        params = {**(settings or {}), "wait_end_of_query": "1"}
        try:
            async with self._open().post(self._url, data=body, params=params) as answer:
                content = await answer.read()
                if answer.status == 200 and "X-ClickHouse-Exception-Code" not in answer.headers:
                    return content
                raise _failure(answer, content)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise StoreAway(f"ClickHouse at {self._url} does not answer: {error!r}") from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=ANSWER_S, sock_connect=5)
            self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        return self._session


def _failure(answer: aiohttp.ClientResponse, content: bytes) -> StatementRefused | StoreAway:
    """What a failed answer means. One without ClickHouse's code comes from something in between."""
    message = content[:_MESSAGE_CHARS].decode(errors="replace").strip()
    code = answer.headers.get("X-ClickHouse-Exception-Code", "")
    if not code.isdigit() or int(code) in PASSING_ERRORS:
        return StoreAway(f"status {answer.status}: {message}")
    return InsertRefused(message) if int(code) in DATA_ERRORS else StatementRefused(message)
