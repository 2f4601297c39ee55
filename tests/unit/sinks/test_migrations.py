"""Which migrations are to run, and what their files are."""

from datetime import UTC, datetime

import pytest

from sinks.clickhouse.migrations.runner import Applied, Migration, load_migrations, pending
from sinks.clickhouse.store import quoted
from topics.errors import SettingsError
from topics.trace import SCHEMAS

FILES = load_migrations()
AT = datetime(2026, 1, 1, tzinfo=UTC)


def applied(migration: Migration, checksum: str = "") -> Applied:
    return Applied(
        version=migration.version, name=migration.name, checksum=checksum or migration.checksum, applied_at=AT
    )


def test_versions_count_up_from_one() -> None:
    assert [migration.version for migration in FILES] == list(range(1, len(FILES) + 1))


def test_what_is_not_applied_is_pending_in_order() -> None:
    assert pending(FILES, {1: applied(FILES[0]), 3: applied(FILES[2])}) == [FILES[1], *FILES[3:]]


def test_a_file_that_was_changed_after_it_was_applied_is_an_error() -> None:
    with pytest.raises(SettingsError, match="0001_events was applied at 2026-01-01"):
        pending(FILES, {1: applied(FILES[0], checksum="0" * 64)})


def test_a_database_that_is_ahead_is_accepted() -> None:
    ahead = Migration(version=99, name="later", text="SELECT 1;")
    there = {migration.version: applied(migration) for migration in [*FILES, ahead]}

    assert pending(FILES, there) == []


def test_statements_are_split_at_line_ends_and_name_the_database() -> None:
    text = (
        "-- why; because\nCREATE TABLE {database}.a (x String DEFAULT 'a;b');\nCREATE VIEW {database}.b AS SELECT 1;\n"
    )

    assert Migration(version=1, name="a", text=text).statements("acme_1") == [
        "CREATE TABLE `acme_1`.a (x String DEFAULT 'a;b')",
        "CREATE VIEW `acme_1`.b AS SELECT 1",
    ]


def test_what_a_migration_is_for_is_its_first_sentence() -> None:
    text = "-- One thing\n-- and another. More of it.\nCREATE VIEW {database}.b AS SELECT 1;\n-- Later.\n"

    assert Migration(version=1, name="a", text=text).about == "One thing and another"
    assert all(migration.about for migration in FILES)


@pytest.mark.parametrize("name", ["", "a.b", "a`; DROP TABLE x", "1a", "ä"])
def test_a_database_that_is_no_identifier_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="cannot name a database"):
        quoted(name)


@pytest.mark.parametrize("table", SCHEMAS)
def test_a_table_has_every_column_of_its_row(table: str) -> None:
    text = "".join(
        m.text for m in FILES if f"TABLE IF NOT EXISTS {{database}}.{table}\n" in m.text or "ADD COLUMN" in m.text
    )

    missing = [
        n for n in SCHEMAS[table].names if f"\n    {n} " not in text and f"ADD COLUMN IF NOT EXISTS {n} " not in text
    ]
    assert missing == []
