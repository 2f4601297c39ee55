"""What a client asks for besides its statement: settings, parameters, database, session, formats, external tables.

Pure: reads the URL's parameters and the headers; the body is `bodies`' work.
"""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from sinks.clickhouse.http.errors import StatementError

UNKNOWN_SETTING = 115
NOT_IMPLEMENTED = 48
DEFAULT_FORMAT = "TabSeparated"
DEFAULT_SESSION_TIMEOUT_S = 60.0
MAX_SESSION_TIMEOUT_S = 3600.0

_SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PARAM_PREFIX = "param_"
_TABLE_SUFFIXES = ("_format", "_structure", "_types")
# Parameters of the transport; every other one is a setting of the engine.
_TRANSPORT = frozenset(
    (
        "add_http_cors_header",
        "buffer_size",
        "cancel_http_readonly_queries_on_client_close",
        "client_protocol_version",
        "compress",
        "database",
        "decompress",
        "default_format",
        "enable_http_compression",
        "http_headers_progress_interval_ms",
        "limit",
        "password",
        "query",
        "query_id",
        "quota_key",
        "readonly",
        "role",
        "send_progress_in_http_headers",
        "session_check",
        "session_id",
        "session_timeout",
        "user",
        "wait_end_of_query",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalTable:
    """A table that comes with the request and lasts as long as it."""

    name: str
    structure: str
    """Columns as in CREATE TABLE."""
    format: str
    rows: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything about a request but its statement and its body."""

    query_id: str
    database: str | None
    default_format: str
    session_id: str | None
    session_timeout_s: float
    settings: Mapping[str, str]
    params: Mapping[str, str]
    wants_readonly: bool
    """The client gave up writing for this request, by `readonly`."""
    is_buffered: bool
    """The client wants no status before the statement has ended."""
    accept_encoding: str
    """Empty where the client takes no compression."""
    protocol_revision: int


def read_options(
    url: Mapping[str, str], headers: Mapping[str, str], *, tables: frozenset[str] = frozenset()
) -> Options:
    """Read URL parameters and headers.

    Args:
        url: parameters of the URL, and of the form where the body is one.
        headers: looked up without regard to case.
        tables: names of external tables, whose parameters are not settings.

    Raises:
        StatementError: a setting that cannot be one, or ClickHouse's own block compression.
    """
    if url.get("compress", "0") not in ("", "0") or url.get("decompress", "0") not in ("", "0"):
        raise StatementError(
            "ClickHouse's block compression (compress=1, decompress=1) is not served here; use "
            "enable_http_compression=1 with Accept-Encoding, and Content-Encoding",
            engine_code=NOT_IMPLEMENTED,
            name="NOT_IMPLEMENTED",
        )
    of_tables = {name + suffix for name in tables for suffix in _TABLE_SUFFIXES}
    return Options(
        query_id=url.get("query_id") or str(uuid.uuid4()),
        database=url.get("database") or headers.get("X-ClickHouse-Database"),
        default_format=url.get("default_format") or headers.get("X-ClickHouse-Format") or DEFAULT_FORMAT,
        session_id=url.get("session_id") or None,
        session_timeout_s=min(_number(url, "session_timeout", DEFAULT_SESSION_TIMEOUT_S), MAX_SESSION_TIMEOUT_S),
        settings=_settings(url, of_tables),
        params={
            name.removeprefix(_PARAM_PREFIX): value for name, value in url.items() if name.startswith(_PARAM_PREFIX)
        },
        wants_readonly=url.get("readonly", "0") not in ("", "0"),
        is_buffered=url.get("wait_end_of_query") == "1",
        accept_encoding=_accept_encoding(url, headers),
        protocol_revision=int(_number(url, "client_protocol_version", 0)),
    )


def external_table(name: str, rows: bytes, url: Mapping[str, str]) -> ExternalTable:
    """Describe an external table by its `<name>_structure` or `<name>_types`, and `<name>_format`."""
    types = url.get(f"{name}_types", "String").split(",")
    unnamed = ", ".join(f"_{number} {type_}" for number, type_ in enumerate(types, 1))
    return ExternalTable(
        name=name,
        structure=url.get(f"{name}_structure") or unnamed,
        format=url.get(f"{name}_format", DEFAULT_FORMAT),
        rows=rows,
    )


def _settings(url: Mapping[str, str], of_tables: set[str]) -> dict[str, str]:
    named = {
        name: value
        for name, value in url.items()
        if name not in _TRANSPORT and name not in of_tables and not name.startswith(_PARAM_PREFIX)
    }
    for name in named:
        if not _SETTING_NAME.fullmatch(name):
            raise StatementError(f"Unknown setting '{name}'", engine_code=UNKNOWN_SETTING, name="UNKNOWN_SETTING")
    return named


def _accept_encoding(url: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """clickhouse-go asks by header alone; every other client must also say `enable_http_compression=1`."""
    is_go = headers.get("User-Agent", "").startswith("clickhouse-go")
    is_enabled = url.get("enable_http_compression", "1" if is_go else "0") == "1"
    return headers.get("Accept-Encoding", "") if is_enabled else ""


def _number(url: Mapping[str, str], name: str, default: float) -> float:
    try:
        return float(url.get(name, default))
    except ValueError as error:
        raise StatementError(
            f"{name}={url[name]!r} is not a number", engine_code=UNKNOWN_SETTING, name="UNKNOWN_SETTING"
        ) from error
