"""ClickHouse's HTTP interface as handlers of aiohttp: receive, run, answer.

How a request is read is in `bodies` and `requests`, what an answer looks like in `responses`, what the engine does in
`handles`. Results are streamed, rows of an INSERT are gathered on disk: compression, that and the engine's work run in
the request's thread.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from sinks.clickhouse.http import native, responses
from sinks.clickhouse.http.access import Access, User
from sinks.clickhouse.http.bodies import Asked, Body, read_request
from sinks.clickhouse.http.compression import Deflater
from sinks.clickhouse.http.errors import StatementError
from sinks.clickhouse.http.handles import ENGINE_VERSION
from sinks.clickhouse.http.limits import Limits, Rights
from sinks.clickhouse.http.pool import HandlePool, Lease
from sinks.clickhouse.http.running import RunningStatements
from sinks.clickhouse.http.sessions import SessionKey
from sinks.clickhouse.http.statement import Kind
from sinks.clickhouse.http.streaming import describe_empty, stream_result

READONLY = 164
_SAFE_METHODS = frozenset({"GET", "HEAD"})
_READS = frozenset({Kind.SELECT, Kind.SHOW})


class HttpInterface:
    """The handlers. One instance serves one engine on one event loop."""

    def __init__(
        self,
        *,
        pool: HandlePool,
        access: Access,
        running: RunningStatements,
        limits: Limits,
        database: str | None,
        timezone: str,
    ) -> None:
        self._pool = pool
        self._access = access
        self._running = running
        self._limits = limits.settings()
        self._database = database
        self._timezone = timezone

    def application(self) -> web.Application:
        """An application that serves `/`, `/ping` and `/replicas_status`."""
        app = web.Application()
        app.router.add_route("*", "/", self.serve)
        app.router.add_get("/ping", _alive)
        app.router.add_get("/replicas_status", _alive)
        return app

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        if request.method in _SAFE_METHODS and "query" not in request.query:
            return await _alive(request)
        headers = responses.base_headers(request.query.get("query_id", ""), self._timezone)
        try:
            user = self._access.authenticate(request.headers, request.query)
            asked = await read_request(request)
            headers = responses.base_headers(asked.options.query_id, self._timezone)
            return await self._answer(request, asked, user, headers)
        except StatementError as error:
            return responses.failure(error, headers)

    async def _answer(
        self, request: web.Request, asked: Asked, user: User, headers: dict[str, str]
    ) -> web.StreamResponse:
        statement, options = asked.statement, asked.options
        if statement.text.strip() == native.PREFLIGHT and options.protocol_revision >= native.PREFLIGHT_REVISION:
            return self._preflight(headers)
        rights = _rights(user, is_reading=options.wants_readonly or request.method in _SAFE_METHODS)
        if statement.kind is Kind.KILL and rights.is_readonly:
            raise StatementError("Cannot execute query in readonly mode", engine_code=READONLY, name="READONLY")
        async with self._leased(asked, user, rights) as lease:
            with self._running.entered(options.query_id, lease.handle.mark):
                await self._prepare(lease, asked)
                for table in asked.tables:
                    await lease.run(lease.handle.load_table, table)
                if statement.kind is Kind.INSERT_DATA:
                    return await self._insert(lease, asked, headers)
                format_name = statement.format or options.default_format
                is_streamable = statement.kind is Kind.SELECT and format_name in responses.STREAMABLE_FORMATS
                if is_streamable and not options.is_buffered:
                    return await stream_result(request, lease, asked, format_name, headers)
                return await self._whole(lease, asked, format_name, headers)

    def _preflight(self, headers: dict[str, str]) -> web.Response:
        block = native.preflight_block(
            display_name=responses.DISPLAY_NAME, version=ENGINE_VERSION, timezone=self._timezone
        )
        return web.Response(body=block, headers={**headers, **responses.result_headers("Native", None)})

    @asynccontextmanager
    async def _leased(self, asked: Asked, user: User, rights: Rights) -> AsyncIterator[Lease]:
        session_id = asked.options.session_id
        if session_id is None:
            lease = await self._pool.lease(rights)
        else:
            key = SessionKey(user.name, session_id, rights)
            lease = await self._pool.lease_session(key, timeout_s=asked.options.session_timeout_s)
        try:
            yield lease
        finally:
            if asked.tables or asked.statement.kind not in (*_READS, Kind.INSERT_DATA):
                lease.handle.forget()
            lease.release(kill=asked.statement.kind in _READS)

    async def _prepare(self, lease: Lease, asked: Asked) -> None:
        database = asked.options.database or (None if asked.options.session_id else self._database)
        settings = {**self._limits, **asked.options.settings}
        if lease.rights.is_readonly:
            settings.pop("readonly", None)
        await lease.run(lease.handle.prepare, database, settings)

    async def _insert(self, lease: Lease, asked: Asked, headers: dict[str, str]) -> web.Response:
        statement, options, handle = asked.statement, asked.options, lease.handle
        began_ns = time.perf_counter_ns()
        format_name = statement.format or options.default_format
        await lease.run(
            handle.open_insert, statement.text, format_name, settings=statement.settings, params=options.params
        )
        if statement.data:
            await lease.run(handle.append, statement.data)
        if asked.body is not None:
            await _append_rest(lease, asked.body)
        result = await lease.run(handle.finish_insert)
        elapsed_ns = time.perf_counter_ns() - began_ns
        return web.Response(headers={**headers, **responses.summary_header(result, elapsed_ns)})

    async def _whole(self, lease: Lease, asked: Asked, format_name: str, headers: dict[str, str]) -> web.Response:
        began_ns = time.perf_counter_ns()
        sql = await self._running.resolve_kill(asked.statement)
        result = await lease.run(lease.handle.query, sql, format_name, asked.options.params)
        summary = responses.summary_header(result, time.perf_counter_ns() - began_ns)
        body = result.body
        if not body and asked.statement.kind is Kind.SELECT and format_name == "Native":
            body = await lease.run(describe_empty, lease.handle, asked)
        if not body and asked.statement.kind not in _READS:
            return web.Response(headers={**headers, **summary})
        deflater = Deflater(asked.options.accept_encoding)
        packed = await lease.run(lambda: deflater.feed(body) + deflater.finish())
        return web.Response(
            body=packed, headers={**headers, **summary, **responses.result_headers(format_name, deflater.encoding)}
        )


def _rights(user: User, *, is_reading: bool) -> Rights:
    if user.readonly:
        return Rights.VIEW
    return Rights.READ if is_reading else Rights.WRITE


async def _alive(_: web.Request) -> web.StreamResponse:
    return web.Response(text="Ok.\n")


async def _append_rest(lease: Lease, body: Body) -> None:
    def append(piece: bytes) -> None:
        rows = body.inflater.feed(piece)
        if rows:
            lease.handle.append(rows)

    while piece := await body.next_piece():
        await lease.run(append, piece)
    body.inflater.finish()
