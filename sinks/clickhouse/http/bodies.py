"""Reads requests' bodies: the statement as far as it goes, then the rows of an INSERT as they come."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from aiohttp import BodyPartReader, web

from sinks.clickhouse.http.compression import Inflater
from sinks.clickhouse.http.errors import StatementError
from sinks.clickhouse.http.requests import ExternalTable, Options, external_table, read_options
from sinks.clickhouse.http.statement import Kind, Statement, parse

QUERY_IS_TOO_LARGE = 229
SOCKET_TIMEOUT = 209
RECEIVE_TIMEOUT_S = 180.0
"""How long a client may pause within its body; its connection of the pool is held meanwhile."""
PIECE_BYTES = 1 << 20
HEAD_BYTES = 1 << 16
"""An INSERT whose FORMAT clause ends within these is not held in memory."""
MAX_STATEMENT_BYTES = 256 << 20

# With these words a body goes on with the INSERT that the URL began; otherwise it is rows.
_CONTINUES = re.compile(rb"\s*(?:FORMAT|VALUES|SELECT|WITH|SETTINGS)\b|\s*\(", re.IGNORECASE)


class Body:
    """A request's body, piece by piece; `inflater` undoes its encoding, in whatever thread the caller likes."""

    def __init__(self, request: web.Request) -> None:
        self._content = request.content
        self.inflater = Inflater(request.headers.get("Content-Encoding", ""))

    async def next_piece(self) -> bytes:
        """The next piece as it was sent, empty at the end."""
        try:
            async with asyncio.timeout(RECEIVE_TIMEOUT_S):
                return await self._content.read(PIECE_BYTES)
        except TimeoutError:
            raise StatementError(
                f"The body paused for more than {RECEIVE_TIMEOUT_S:g} s",
                engine_code=SOCKET_TIMEOUT,
                name="SOCKET_TIMEOUT",
            ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request whose statement has been read. More rows may wait in `body`, where there is one."""

    options: Options
    statement: Statement
    tables: tuple[ExternalTable, ...] = ()
    body: Body | None = None


async def read_request(request: web.Request) -> Asked:
    """Read a request up to where an INSERT's rows begin, or to its end."""
    url = dict(request.query)
    if request.content_type == "multipart/form-data":
        return await _read_form(request, url)
    options = read_options(url, request.headers)
    body = Body(request)
    statement = await _read_statement(url.get("query", "").encode(), body)
    return Asked(options=options, statement=statement, body=body if statement.kind is Kind.INSERT_DATA else None)


async def _read_statement(url_sql: bytes, body: Body) -> Statement:
    in_url = parse(url_sql)
    if in_url.kind is Kind.INSERT_DATA and in_url.format is not None:
        return in_url
    text = bytearray()
    while piece := await body.next_piece():
        is_first_read = len(text) < HEAD_BYTES
        text += body.inflater.feed(piece)
        if is_first_read and len(text) >= HEAD_BYTES:
            statement = _joined(url_sql, in_url, bytes(text))
            if statement.kind is Kind.INSERT_DATA:
                return statement
        _check_size(len(text))
    body.inflater.finish()
    return _joined(url_sql, in_url, bytes(text))


def _joined(url_sql: bytes, in_url: Statement, text: bytes) -> Statement:
    if not url_sql:
        return parse(text)
    if in_url.kind is Kind.INSERT_DATA and not _CONTINUES.match(text):
        return replace(in_url, data=text)
    return parse(url_sql + b"\n" + text) if text else in_url


def _check_size(size_bytes: int) -> None:
    if size_bytes > MAX_STATEMENT_BYTES:
        raise StatementError(
            f"The statement has more than {MAX_STATEMENT_BYTES} bytes; send rows with INSERT ... FORMAT",
            engine_code=QUERY_IS_TOO_LARGE,
            name="QUERY_IS_TOO_LARGE",
        )


async def _read_form(request: web.Request, url: dict[str, str]) -> Asked:
    """A form carries external tables as files, and what else would be in the URL as fields."""
    files: dict[str, bytes] = {}
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader):
            continue
        value = bytes(await part.read())
        if part.filename is not None and part.name != "query":
            files[part.name or part.filename] = value
        else:
            url[part.name or ""] = value.decode()
    return Asked(
        options=read_options(url, request.headers, tables=frozenset(files)),
        statement=parse(url.get("query", "").encode()),
        tables=_tables(files, url),
    )


def _tables(files: Mapping[str, bytes], url: Mapping[str, str]) -> tuple[ExternalTable, ...]:
    return tuple(external_table(name, rows, url) for name, rows in files.items())
