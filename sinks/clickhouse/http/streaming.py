"""A SELECT's result sent while it is computed, with an exception frame at its end if it fails on the way."""

import asyncio
import logging
import secrets

import orjson
from aiohttp import web

from sinks.clickhouse.http import native, responses
from sinks.clickhouse.http.bodies import Asked
from sinks.clickhouse.http.compression import Deflater
from sinks.clickhouse.http.errors import StatementError, exception_frame
from sinks.clickhouse.http.handles import Handle
from sinks.clickhouse.http.pool import Lease

logger = logging.getLogger(__name__)

SEND_TIMEOUT_S = 180.0
"""How long a client may take no bytes; its connection of the pool is held meanwhile."""


class _ResultStream:
    """Blocks of one SELECT, compressed; every method blocks and runs in the lease's thread."""

    def __init__(self, handle: Handle, asked: Asked, format_name: str) -> None:
        self._handle = handle
        self._asked = asked
        self._format_name = format_name
        self._deflater = Deflater(asked.options.accept_encoding)

    @property
    def encoding(self) -> str | None:
        return self._deflater.encoding

    def first(self) -> bytes | None:
        """The first piece; an error up to here still gets a status of its own."""
        self._handle.open_stream(self._asked.statement.text, self._format_name, self._asked.options.params)
        block = self._handle.next_block()
        if block is None and self._format_name == "Native":
            return self._deflater.feed(describe_empty(self._handle, self._asked))
        return None if block is None else self._deflater.feed(block)

    def following(self) -> bytes | None:
        """The next piece, None at the end; may be empty while the compressor gathers."""
        block = self._handle.next_block() if self._handle.is_open else None
        return None if block is None else self._deflater.feed(block)

    def ending(self, last: bytes = b"") -> bytes:
        return self._deflater.feed(last) + self._deflater.finish()


def describe_empty(handle: Handle, asked: Asked) -> bytes:
    """The Native header of a SELECT that has no rows, so that its columns' names and types are known."""
    described = handle.query(b"DESCRIBE (" + asked.statement.bare + b"\n)", "JSONEachRow", asked.options.params)
    columns = [orjson.loads(line) for line in described.body.splitlines()]
    return native.empty_block([(column["name"], column["type"]) for column in columns])


async def stream_result(
    request: web.Request, lease: Lease, asked: Asked, format_name: str, headers: dict[str, str]
) -> web.StreamResponse:
    """Answer with the rows of a SELECT, block by block.

    Raises:
        StatementError: the statement failed before its first block.
    """
    stream = _ResultStream(lease.handle, asked, format_name)
    piece = await lease.run(stream.first)
    tag = secrets.token_hex(8)
    response = web.StreamResponse(
        headers={**headers, **responses.result_headers(format_name, stream.encoding), "X-ClickHouse-Exception-Tag": tag}
    )
    try:
        await response.prepare(request)
        try:
            while piece is not None:
                await _send(response, piece)
                piece = await lease.run(stream.following)
            ending = await lease.run(stream.ending)
        except StatementError as error:
            ending = await lease.run(stream.ending, exception_frame(error, tag))
        await _send(response, ending)
        await response.write_eof()
    except TimeoutError:
        logger.warning("client took no bytes for %g s, connection dropped", SEND_TIMEOUT_S)
        if request.transport is not None:
            request.transport.abort()
    except ConnectionError:
        logger.debug("client left before its result ended")
    return response


async def _send(response: web.StreamResponse, piece: bytes) -> None:
    if piece:
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await response.write(piece)
