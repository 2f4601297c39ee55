"""Removing what is kept of a request or of a tenant, from the disk: the parts that have rows of it are written anew.

A request is known by tenant, model and id. Ids are given by clients, and two tenants may give the same: whoever names
an id that several requests have is asked which one. Feedback that does not say whose it is goes where nobody else has
the id; else it stays, because it may be about another's request.

What remains are sums that name nobody. A tenant's name is a dimension of the rollup, so its rows go too. The recorder's
place on the trace topic is kept apart from the rows, so nothing that was removed is read again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sinks.clickhouse.migrations.templating import on_cluster
from sinks.clickhouse.store import Store, quoted
from topics.errors import InvalidRequest

_OF_REQUESTS: Final = ("requests", "events", "texts")
_SHOWN: Final = 5
"""How many of the requests that have an id are named in an error."""


class Identity(NamedTuple):
    """Of a request, without its id."""

    tenant: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Whose:
    """What is to be removed: everything of a tenant, or, where `request` is an id, of one request: then `tenant` and
    `model` are needed only where several requests have it.
    """

    request: str = ""
    tenant: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One request that has an id; `is_alone` where no other request has it."""

    request: str
    identity: Identity
    is_alone: bool


async def find(store: Store, database: str, whose: Whose) -> Found | None:
    """The one request that is meant; None where nothing is known of such a one.

    Raises:
        InvalidRequest: several are; it names them.
        StoreAway: the store cannot be reached.
    """
    name, request = quoted(database), _text(whose.request)
    sources = " UNION ALL ".join(
        f"SELECT toString(tenant) AS tenant, toString(model) AS model FROM {name}.{table} WHERE request_id = {request}"
        for table in _OF_REQUESTS
    )
    rows = await store.query(f"SELECT tenant, model FROM ({sources}) GROUP BY tenant, model ORDER BY tenant, model")
    return chosen(whose, [Identity(str(tenant), str(model)) for tenant, model in rows])


def chosen(whose: Whose, present: Sequence[Identity]) -> Found | None:
    """As `find`, of the requests that have the id. Pure.

    Raises:
        InvalidRequest: several are meant.
    """
    meant = [p for p in present if whose.tenant in ("", p.tenant) and whose.model in ("", p.model)]
    if len(meant) > 1:
        named = "; ".join(f"--tenant {tenant} --model {model}" for tenant, model in meant[:_SHOWN])
        raise InvalidRequest(f"{len(meant)} requests have the id {whose.request}: say which, by {named}")
    if not meant:
        return None
    return Found(request=whose.request, identity=meant[0], is_alone=len(present) == 1)


def of_request(found: Found) -> Mapping[str, str]:
    """Which rows of which table are of a request, feedback first: conditions in SQL. Pure."""
    request, tenant, model = map(_text, (found.request, *found.identity))
    its = f"request_id = {request} AND tenant = {tenant} AND model = {model}"
    unsaid = f"request_id = {request} AND tenant IN ('', {tenant}) AND model IN ('', {model})"
    return {"feedback": unsaid if found.is_alone else its} | dict.fromkeys(_OF_REQUESTS, its)


def of_feedback(whose: Whose) -> Mapping[str, str]:
    """As `of_request`, where nothing but feedback may be left. Pure."""
    said = {"request_id": whose.request, "tenant": whose.tenant, "model": whose.model}
    return {"feedback": " AND ".join(f"{column} = {_text(value)}" for column, value in said.items() if value)}


def of_tenant(database: str, tenant: str) -> Mapping[str, str]:
    """As `of_request`, of a tenant. Feedback goes by the requests, so it goes first."""
    requests, mine = f"{quoted(database)}.requests", f"tenant = {_text(tenant)}"
    unsaid = (
        f"tenant = '' AND request_id IN (SELECT request_id FROM {requests} WHERE {mine}) "
        f"AND request_id NOT IN (SELECT request_id FROM {requests} WHERE NOT {mine})"
    )
    return {"feedback": f"{mine} OR {unsaid}"} | dict.fromkeys((*_OF_REQUESTS, "requests_by_minute"), mine)


def statements(database: str, conditions: Mapping[str, str], *, cluster: str = "") -> list[str]:
    """What removes the rows of conditions, in their order."""
    return [_delete(database, table, condition, cluster) for table, condition in conditions.items()]


async def erase(store: Store, database: str, whose: Whose, *, cluster: str = "") -> dict[str, int]:
    """Remove it. Returns how many rows each table had of it.

    Rows that are still on the trace topic are recorded afterwards: erase again when the recorder has caught up.

    Raises:
        InvalidRequest: several requests have the id.
        StatementRefused: the user may not delete.
        StoreAway: the store cannot be reached; it may be done in part, and can be done again.
    """
    conditions = await _conditions(store, database, whose)
    counted = await _counted(store, database, conditions)
    for statement in statements(database, conditions, cluster=cluster):
        await store.execute(statement)
    return counted


async def count(store: Store, database: str, whose: Whose) -> dict[str, int]:
    """How many rows `erase` would remove from each table.

    Raises:
        InvalidRequest: several requests have the id.
        StoreAway: the store cannot be reached.
    """
    return await _counted(store, database, await _conditions(store, database, whose))


async def _conditions(store: Store, database: str, whose: Whose) -> Mapping[str, str]:
    if not whose.request:
        return of_tenant(database, whose.tenant)
    found = await find(store, database, whose)
    return of_feedback(whose) if found is None else of_request(found)


async def _counted(store: Store, database: str, conditions: Mapping[str, str]) -> dict[str, int]:
    counted = {}
    for table, condition in conditions.items():
        ((rows,),) = await store.query(f"SELECT count() FROM {quoted(database)}.{table} WHERE {condition}")
        counted[table] = int(rows)
    return counted


def _delete(database: str, table: str, condition: str, cluster: str) -> str:
    where = f"ALTER TABLE {quoted(database)}.{table}"
    return f"{on_cluster(where, cluster)} DELETE WHERE {condition} SETTINGS mutations_sync = 2"


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
