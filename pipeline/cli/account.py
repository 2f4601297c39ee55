"""Asking the account: SQL over ClickHouse's HTTP interface, and what commands want to know of it.

Calls block; use a thread from asyncio.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from pipeline.settings import ClickHouseSettings
from sinks.clickhouse.client import connect
from sinks.clickhouse.migrations import load_migrations
from topics.errors import TransportError
from topics.trace_rows import TABLES

_SYSTEM_ERROR: Final = re.compile(r"\[Errno -?\d+\] ([^'\")]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The result of a statement: column names and rows of plain values."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]


@contextmanager
def account(settings: ClickHouseSettings) -> Iterator[Client]:
    """A connected client, closed at the end of the block.

    Raises:
        TransportError: nobody answers, the user is not let in, or a statement of the block was refused.
    """
    try:
        client = connect(settings.http_url, settings.user, settings.password, settings.database)
    except TransportError as error:
        whom = f"{settings.http_url} as {settings.user}, database {settings.database}"
        raise TransportError(f"cannot use ClickHouse at {whom}: {_reason(error.__cause__ or error)}") from error
    try:
        yield client
    except (ClickHouseError, OSError) as error:
        raise TransportError(f"ClickHouse at {settings.http_url}: {_reason(error)}") from error
    finally:
        client.close()


def ask(client: Client, sql: str, parameters: Mapping[str, Any] | None = None) -> Answer:
    """Rows of one statement. `parameters` are bound on the server: `{name:Type}` in the statement.

    Raises:
        ClickHouseError: the server refused it.
    """
    result = client.query(sql, parameters=dict(parameters or {}))
    return Answer(columns=tuple(result.column_names), rows=result.result_rows)


def recorded_to(client: Client) -> dict[int, int]:
    """Up to which offset of each trace partition everything is in ClickHouse: one past the last message recorded."""
    tables = "".join(f" UNION ALL SELECT kp, max(ko) + 1 AS next FROM {table} GROUP BY kp" for table in TABLES)
    sql = f"SELECT kp, max(next) FROM (SELECT kp, next_ko AS next FROM recorder_positions{tables}) GROUP BY kp"
    return {int(partition): int(end) for partition, end in ask(client, sql).rows}


def missing_migrations(client: Client) -> list[str]:
    """Migrations of this release that the database does not have, by file name; all of them where it has no schema."""
    applied: set[int] = set()
    if ask(client, "SELECT 1 FROM system.tables WHERE database = currentDatabase() AND name = 'schema_versions'").rows:
        applied = {int(row[0]) for row in ask(client, "SELECT DISTINCT version FROM schema_versions").rows}
    return [f"{m.version:04}_{m.name}" for m in load_migrations() if m.version not in applied]


def _reason(error: BaseException) -> str:
    """What is wrong, without the layers of the HTTP client and the server's stack of causes."""
    said = str(error)
    system = _SYSTEM_ERROR.search(said)
    if system is not None:
        return system[1].strip().lower()
    return next((line for line in said.splitlines() if line.strip()), type(error).__name__)
