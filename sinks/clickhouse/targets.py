"""What classes are promised, kept beside the requests so that attainment is a query."""

from collections.abc import Sequence

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


async def promise(store: Store, database: str, targets: Sequence[Target]) -> list[Target]:
    """Write the targets that differ from what is there, and return them.

    Raises:
        StatementRefused: the server refused them.
        StoreAway: the store cannot be reached.
    """
    table = f"{quoted(database)}.slo_targets"
    rows = await store.query(
        f"SELECT model, latency_class, objective_ratio, ttft_ms, tpot_ms, e2e_ms FROM {table} FINAL"
    )
    fields = Target.__struct_fields__
    present = {Target(**dict(zip(fields, row, strict=True))) for row in rows}
    changed = [target for target in targets if target not in present]
    if changed:
        await store.execute(f"INSERT INTO {table} ({', '.join(fields)}) VALUES {', '.join(map(_values, changed))}")
    return changed


def _values(target: Target) -> str:
    numbers = (target.objective_ratio, target.ttft_ms, target.tpot_ms, target.e2e_ms)
    return f"({_text(target.model)}, {_text(target.latency_class)}, {', '.join(map(repr, map(float, numbers)))})"


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
