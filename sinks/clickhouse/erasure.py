"""Removing what is kept of a request or of a tenant, from the disk: the parts that have rows of it are written anew.

What remains are sums that name nobody. A tenant's name is a dimension of the rollup, so its rows go too. The recorder's
place on the trace topic is kept apart from the rows, so nothing that was removed is read again.
"""

from typing import Final

from sinks.clickhouse.migrations.templating import on_cluster
from sinks.clickhouse.store import Store, quoted

_REQUEST: Final = {"requests": "request_id", "events": "request_id", "feedback": "request_id"}
_TENANT: Final = {"requests": "tenant", "events": "tenant", "requests_by_minute": "tenant"}


def statements(database: str, *, request: str = "", tenant: str = "", cluster: str = "") -> list[str]:
    """What removes everything of one request, or of one tenant. Feedback goes by the requests, so it goes first."""
    name = quoted(database)
    found = []
    if tenant:
        mine = f"SELECT request_id FROM {name}.requests WHERE tenant = {_text(tenant)}"
        found.append(_delete(database, "feedback", f"request_id IN ({mine})", cluster))
    for table, column in (_TENANT if tenant else _REQUEST).items():
        found.append(_delete(database, table, f"{column} = {_text(tenant or request)}", cluster))
    return found


async def erase(
    store: Store, database: str, *, request: str = "", tenant: str = "", cluster: str = ""
) -> dict[str, int]:
    """Remove it. Returns how many rows each table had of it.

    Rows that are still on the trace topic are recorded afterwards: erase again when the recorder has caught up.

    Raises:
        StatementRefused: the user may not delete.
        StoreAway: the store cannot be reached; it may be done in part, and can be done again.
    """
    counted = await count(store, database, request=request, tenant=tenant)
    for statement in statements(database, request=request, tenant=tenant, cluster=cluster):
        await store.execute(statement)
    return counted


async def count(store: Store, database: str, *, request: str = "", tenant: str = "") -> dict[str, int]:
    """How many rows each table has of a request or a tenant.

    Raises:
        StoreAway: the store cannot be reached.
    """
    name = quoted(database)
    found = {}
    for table, column in (_TENANT if tenant else _REQUEST).items():
        sql = f"SELECT count() FROM {name}.{table} WHERE {column} = {_text(tenant or request)}"
        ((rows,),) = await store.query(sql)
        found[table] = int(rows)
    return found


def _delete(database: str, table: str, condition: str, cluster: str) -> str:
    where = f"ALTER TABLE {quoted(database)}.{table}"
    return f"{on_cluster(where, cluster)} DELETE WHERE {condition} SETTINGS mutations_sync = 2"


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
