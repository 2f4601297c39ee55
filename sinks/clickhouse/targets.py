"""What classes are promised, kept beside the requests so that attainment is a query."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from sinks.clickhouse.store import Store, quoted


class Target(Struct, kw_only=True, frozen=True):
    """The promise to one class of a model: milliseconds to the first token, per token, to the end; 0 for none.

    `objective_ratio` is the share of requests that are to keep it.
    """

    model: str
    latency_class: str
    objective_ratio: float
    ttft_ms: float = 0.0
    tpot_ms: float = 0.0
    e2e_ms: float = 0.0


_FIELDS: Final = Target.__struct_fields__


async def outlook(store: Store, database: str, targets: Sequence[Target]) -> list[Target]:
    """The targets that differ from what is there, which is nothing before the table is. Changes nothing.

    Raises:
        StoreAway: the store cannot be reached.
    """
    if not await store.query(f"SELECT 1 FROM system.tables WHERE database = '{database}' AND name = 'slo_targets'"):
        return list(targets)
    rows = await store.query(f"SELECT {', '.join(_FIELDS)} FROM {_table(database)} FINAL")
    present = {Target(**dict(zip(_FIELDS, row, strict=True))) for row in rows}
    return [target for target in targets if target not in present]


def statement(database: str, targets: Sequence[Target]) -> str:
    """What writes targets, at least one."""
    return f"INSERT INTO {_table(database)} ({', '.join(_FIELDS)}) VALUES {', '.join(map(_values, targets))}"


async def promise(store: Store, database: str, targets: Sequence[Target]) -> list[Target]:
    """Write the targets that differ from what is there, and return them.

    Raises:
        StatementRefused: the server refused them.
        StoreAway: the store cannot be reached.
    """
    changed = await outlook(store, database, targets)
    if changed:
        await store.execute(statement(database, changed))
    return changed


def _table(database: str) -> str:
    return f"{quoted(database)}.slo_targets"


def _values(target: Target) -> str:
    numbers = (target.objective_ratio, target.ttft_ms, target.tpot_ms, target.e2e_ms)
    return f"({_text(target.model)}, {_text(target.latency_class)}, {', '.join(map(repr, map(float, numbers)))})"


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
