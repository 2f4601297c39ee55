"""From the settings to the schema of the account."""

from pipeline.settings import Settings
from sinks.clickhouse.schema import Schema
from sinks.clickhouse.targets import Target


def schema_of(settings: Settings) -> Schema:
    """What the settings say about the account's database: where, how long, and what is promised to whom."""
    clickhouse = settings.clickhouse
    promises = (
        (model, name, settings.classes[name])
        for model, its in sorted(settings.models.items())
        for name in its.classes
        if name in settings.classes
    )
    return Schema(
        database=clickhouse.database,
        cluster=clickhouse.cluster,
        retention_days=clickhouse.retention_days,
        targets=tuple(
            Target(
                model=model,
                latency_class=name,
                objective_ratio=promise.objective_ratio,
                ttft_ms=float(promise.ttft_ms or 0),
                tpot_ms=float(promise.tpot_ms or 0),
                e2e_ms=float(promise.e2e_ms or 0),
            )
            for model, name, promise in promises
        ),
    )
