"""Headers and bodies of answers, as ClickHouse's clients expect them. Does no I/O."""

import orjson
from aiohttp import web

from sinks.clickhouse.http.errors import REQUIRED_PASSWORD, StatementError
from sinks.clickhouse.http.handles import Result

STREAMABLE_FORMATS = frozenset(
    (
        "CSV",
        "JSONEachRow",
        "JSONLines",
        "NDJSON",
        "Native",
        "RowBinary",
        "TSV",
        "TSVRaw",
        "TabSeparated",
        "TabSeparatedRaw",
    )
)
"""Formats whose blocks, written one after the other, are one valid result: no header, no footer."""

DISPLAY_NAME = "chdb"

_CONTENT_TYPES = {
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "TabSeparatedWithNames": "text/tab-separated-values; charset=UTF-8",
    "Arrow": "application/octet-stream",
    "ArrowStream": "application/octet-stream",
    "Native": "application/octet-stream",
    "Parquet": "application/octet-stream",
    "RowBinary": "application/octet-stream",
    "RowBinaryWithNamesAndTypes": "application/octet-stream",
}


def base_headers(query_id: str, timezone: str) -> dict[str, str]:
    """What every answer carries."""
    return {
        "X-ClickHouse-Query-Id": query_id,
        "X-ClickHouse-Timezone": timezone,
        "X-ClickHouse-Server-Display-Name": DISPLAY_NAME,
    }


def result_headers(format_name: str, encoding: str | None) -> dict[str, str]:
    """What an answer with rows carries besides."""
    headers = {
        "X-ClickHouse-Format": format_name,
        "Content-Type": _CONTENT_TYPES.get(format_name, "text/plain; charset=UTF-8"),
    }
    return {**headers, "Content-Encoding": encoding} if encoding else headers


def summary_header(result: Result, elapsed_ns: int) -> dict[str, str]:
    """What the statement read and wrote; the counts are strings, as ClickHouse writes them."""
    counts = {
        "read_rows": result.read_rows,
        "read_bytes": result.read_bytes,
        "written_rows": result.written_rows,
        "written_bytes": result.written_bytes,
        "result_rows": result.written_rows or result.read_rows,
        "result_bytes": result.written_bytes or len(result.body),
        "elapsed_ns": elapsed_ns,
    }
    return {"X-ClickHouse-Summary": orjson.dumps({name: str(count) for name, count in counts.items()}).decode()}


def failure(error: StatementError, headers: dict[str, str]) -> web.Response:
    """The answer to a statement that failed before anything of its result was sent."""
    extra = {"X-ClickHouse-Exception-Code": str(error.engine_code)}
    if error.engine_code == REQUIRED_PASSWORD:
        extra["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
    return web.Response(status=error.status, text=error.message + "\n", headers={**headers, **extra})
