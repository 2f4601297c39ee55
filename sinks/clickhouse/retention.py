"""How long each table keeps its rows: from days to `TTL`s, changed only where they differ."""

import logging
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sinks.clickhouse.migrations.templating import on_cluster
from sinks.clickhouse.store import Store, quoted
from topics.errors import SettingsError

logger = logging.getLogger(__name__)

DEFAULT_DAYS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "events": 7,
        "requests": 90,
        "batches": 90,
        "engine_steps": 30,
        "gpu_samples": 90,
        "feedback": 90,
        "texts": 30,
        "scaling_decisions": 730,
        "rollout_decisions": 730,
        "requests_by_minute": 730,
    }
)
"""What the migrations say."""
_TIME: Final = {"requests_by_minute": "minute"}
_DAYS: Final = re.compile(r"\bTTL\b.*?\btoIntervalDay\((\d+)\)")


def check_days(days: Mapping[str, int]) -> None:
    """Whether every table exists and is one that forgets, and minutes are kept as long as what they are made of.

    Raises:
        SettingsError: one does not, or they are not: a minute that is forgotten would be made again and again.
    """
    unknown = sorted(days.keys() - DEFAULT_DAYS.keys())
    if unknown:
        raise SettingsError(f"no rows of {unknown[0]!r} are ever removed; there are: {', '.join(sorted(DEFAULT_DAYS))}")
    kept = {**DEFAULT_DAYS, **days}
    if kept["requests_by_minute"] < kept["requests"]:
        raise SettingsError(
            f"requests_by_minute is kept {kept['requests_by_minute']} days and requests {kept['requests']}; minutes "
            "are made of requests: keep them at least as long"
        )


def changes(database: str, wanted: Mapping[str, int], present: Mapping[str, int], cluster: str = "") -> list[str]:
    """Statements that make the tables keep their rows as long as is wanted. Pure.

    Args:
        database: of the tables.
        wanted: days by table; tables that are not named get their default.
        present: days by table, as the tables have it; one that is missing is left alone.
        cluster: of the servers, if it is replicated.
    """
    target = {**DEFAULT_DAYS, **wanted}
    return [
        on_cluster(f"ALTER TABLE {quoted(database)}.{table} MODIFY TTL {_expression(table, days)}", cluster)
        for table, days in target.items()
        if table in present and present[table] != days
    ]


async def outlook(
    store: Store, database: str, days: Mapping[str, int], cluster: str = "", *, is_growing: bool = False
) -> list[str]:
    """The statements that `keep` would run. Changes nothing.

    Args:
        store: where the tables are.
        database: of the tables.
        days: by table.
        cluster: of the servers, if it is replicated.
        is_growing: tables that are missing will have been made by then, as the migrations say.

    Raises:
        SettingsError: a table that is named does not exist.
        StoreAway: the store cannot be reached.
    """
    check_days(days)
    rows = await store.query(f"SELECT name, engine_full FROM system.tables WHERE database = '{database}'")
    found = {str(name): _DAYS.search(str(engine)) for name, engine in rows}
    present = {name: int(match[1]) for name, match in found.items() if match is not None}
    return changes(database, days, {**DEFAULT_DAYS, **present} if is_growing else present, cluster)


async def keep(store: Store, database: str, days: Mapping[str, int], cluster: str = "") -> list[str]:
    """Let the tables keep their rows so many days. Returns the statements that were run.

    Raises:
        SettingsError: a table that is named does not exist.
        StatementRefused: the server refused a change.
        StoreAway: the store cannot be reached.
    """
    todo = await outlook(store, database, days, cluster)
    for statement in todo:
        await store.execute(statement)
        logger.info("changed how long rows are kept: %s", statement)
    return todo


def _expression(table: str, days: int) -> str:
    return f"{_TIME.get(table, 'toDateTime(log_ts)')} + INTERVAL {days} DAY"
