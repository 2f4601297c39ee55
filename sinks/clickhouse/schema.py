"""The account's database as the settings want it: migrations, how long rows are kept, what classes are promised."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sinks.clickhouse import migrations, retention, targets
from sinks.clickhouse.migrations import Migration
from sinks.clickhouse.store import Store
from sinks.clickhouse.targets import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What is wanted.

    Attributes:
        cluster: of the servers that replicate the database; empty for one server.
        retention_days: by table; tables that are not named keep their rows as long as the migrations say.
        targets: SLOs by model and class.
    """

    database: str
    cluster: str = ""
    retention_days: Mapping[str, int] = field(default_factory=dict)
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Established:
    """What had to be done."""

    migrations: list[Migration]
    retention: list[str]
    targets: list[Target]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What `establish` would do: `statements` is all of it, in order."""

    foundation: list[str]
    migrations: list[Migration]
    retention: list[str]
    targets: list[Target]
    statements: list[str]


async def foresee(store: Store, schema: Schema) -> Outlook:
    """What `establish` would do, down to the statements. Changes nothing.

    Raises:
        SettingsError: as `establish`.
        StoreAway: the store cannot be reached.
    """
    database, cluster = schema.database, schema.cluster
    foundation = await migrations.missing_foundation(store, database, cluster)
    todo = await migrations.plan(store, database)
    kept = await retention.outlook(store, database, schema.retention_days, cluster, is_growing=bool(todo))
    promised = await targets.outlook(store, database, schema.targets)
    made = [
        statement
        for migration in todo
        for statement in (*migration.statements(database, cluster), migration.record(database))
    ]
    written = [targets.statement(database, promised)] if promised else []
    return Outlook(
        foundation=foundation,
        migrations=todo,
        retention=kept,
        targets=promised,
        statements=[*foundation, *made, *kept, *written],
    )


async def establish(store: Store, schema: Schema) -> Established:
    """Bring a database to what is wanted. Doing it twice, or two at once, does no harm.

    Raises:
        SettingsError: an applied migration was changed, or a table of `retention_days` does not exist.
        StatementRefused: the server refused a statement.
        StoreAway: the store cannot be reached; what was done stays done.
    """
    retention.check_days(schema.retention_days)
    return Established(
        migrations=await migrations.apply(store, schema.database, schema.cluster),
        retention=await retention.keep(store, schema.database, schema.retention_days, schema.cluster),
        targets=await targets.promise(store, schema.database, schema.targets),
    )
