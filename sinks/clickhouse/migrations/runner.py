"""Numbered SQL files to a schema: what is there, what is to do, doing it.

A file is `NNNN_name.sql`; its statements end with `;` at the end of a line and are written so that running them again
changes nothing, because DDL knows no transactions: a file that was interrupted is run again as a whole. Which files
ran, and their checksums, are in the table `schema_versions`.
"""

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from itertools import takewhile

from sinks.clickhouse.migrations.templating import on_cluster, statements
from sinks.clickhouse.store import Store, quoted
from topics.errors import SettingsError

logger = logging.getLogger(__name__)

_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One file. `checksum` is of its text as it is shipped, before the database is put in."""

    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def about(self) -> str:
        """What it is for: the first sentence of its first comment."""
        comment = takewhile(lambda line: line.startswith("--"), self.text.splitlines())
        return " ".join(line.removeprefix("--").strip() for line in comment).partition(". ")[0]

    def statements(self, database: str, cluster: str = "") -> list[str]:
        """Its statements, in order, for a database; `cluster` names the servers that replicate it, if any do."""
        return statements(self.text, database, cluster)

    def record(self, database: str) -> str:
        """What notes that it was applied."""
        return (
            f"INSERT INTO {quoted(database)}.schema_versions (version, name, checksum) "
            f"VALUES ({self.version}, '{self.name}', '{self.checksum}')"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """A migration that a database says it has."""

    version: int
    name: str
    checksum: str
    applied_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A migration and when it was applied, None where it was not; `is_changed` where it was another text then."""

    migration: Migration
    applied_at: datetime | None
    is_changed: bool = False

    @property
    def state(self) -> str:
        """pending, applied or changed."""
        return "pending" if self.applied_at is None else "changed" if self.is_changed else "applied"


def load_migrations() -> list[Migration]:
    """The migrations of this release by version.

    Raises:
        SettingsError: two files have one number.
    """
    found: dict[int, Migration] = {}
    for file in files(__package__).iterdir():
        match = _NAME.match(file.name)
        if match is None:
            continue
        version = int(match[1])
        if version in found:
            raise SettingsError(f"migrations {found[version].name} and {match[2]} have the number {version}")
        found[version] = Migration(version=version, name=match[2], text=file.read_text())
    return [found[version] for version in sorted(found)]


def pending(migrations: Sequence[Migration], applied: Mapping[int, Applied]) -> list[Migration]:
    """Which are still to run. Pure. A database that is ahead of this release is accepted: columns are only added.

    Raises:
        SettingsError: an applied file was changed since, so that this database has something else.
    """
    for migration in migrations:
        there = applied.get(migration.version)
        if there is not None and there.checksum != migration.checksum:
            raise SettingsError(
                f"migration {migration.version:04}_{migration.name} was applied at {there.applied_at} with checksum "
                f"{there.checksum[:12]}, this release has {migration.checksum[:12]}; restore the file and add a new one"
            )
    return [migration for migration in migrations if migration.version not in applied]


def foundation(database: str, cluster: str = "") -> list[str]:
    """What is made before the first migration: the database, and the table of those that were applied."""
    name = quoted(database)
    everywhere = f" ON CLUSTER {quoted(cluster)}" if cluster else ""
    versions = (
        f"CREATE TABLE IF NOT EXISTS {name}.schema_versions (version UInt32, name String, checksum String, "
        "applied_at DateTime64(3, 'UTC') DEFAULT now64(3)) ENGINE = ReplacingMergeTree ORDER BY version"
    )
    return [f"CREATE DATABASE IF NOT EXISTS {name}{everywhere}", on_cluster(versions, cluster)]


async def missing_foundation(store: Store, database: str, cluster: str = "") -> list[str]:
    """What of the foundation is not there.

    Raises:
        StoreAway: the store cannot be reached.
    """
    create_database, create_versions = foundation(database, cluster)
    if not await store.query(f"SELECT name FROM system.databases WHERE name = '{database}'"):
        return [create_database, create_versions]
    return [] if await _has_versions(store, database) else [create_versions]


async def plan(store: Store, database: str) -> list[Migration]:
    """Which migrations `apply` would run. Changes nothing.

    Raises:
        SettingsError: an applied file was changed.
        StoreAway: the store cannot be reached.
    """
    return pending(load_migrations(), await _applied(store, database))


async def apply(store: Store, database: str, cluster: str = "") -> list[Migration]:
    """Bring the database to the schema of this release, making it where it is missing. Returns what was run.

    Two at once do no harm: every statement may run twice. With a `cluster`, every statement runs on all its servers.

    Raises:
        SettingsError: an applied file was changed.
        StatementRefused: the server refused a statement.
        StoreAway: the store cannot be reached; what was done stays done.
    """
    for statement in foundation(database, cluster):
        await store.execute(statement)
    todo = await plan(store, database)
    for migration in todo:
        for statement in migration.statements(database, cluster):
            await store.execute(statement)
        await store.execute(migration.record(database))
        logger.info("applied migration %04d_%s to %s", migration.version, migration.name, database)
    return todo


async def status(store: Store, database: str) -> list[Status]:
    """Every migration of this release and when it was applied.

    Raises:
        StoreAway: the store cannot be reached.
    """
    applied = await _applied(store, database)
    return [_status_of(migration, applied.get(migration.version)) for migration in load_migrations()]


def _status_of(migration: Migration, there: Applied | None) -> Status:
    if there is None:
        return Status(migration=migration, applied_at=None)
    return Status(migration=migration, applied_at=there.applied_at, is_changed=there.checksum != migration.checksum)


async def _has_versions(store: Store, database: str) -> bool:
    sql = f"SELECT name FROM system.tables WHERE database = '{database}' AND name = 'schema_versions'"
    return bool(await store.query(sql))


async def _applied(store: Store, database: str) -> dict[int, Applied]:
    if not await _has_versions(store, database):
        return {}
    rows = await store.query(
        "SELECT version, any(name), any(checksum), toUnixTimestamp64Milli(min(applied_at)) "
        f"FROM {quoted(database)}.schema_versions GROUP BY version"
    )
    return {
        int(version): Applied(version=int(version), name=name, checksum=checksum, applied_at=_at(int(ms)))
        for version, name, checksum, ms in rows
    }


def _at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
