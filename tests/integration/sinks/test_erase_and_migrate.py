"""The commands that change the account, over the HTTP interface that every process uses."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.main import main
from sinks.clickhouse.client import connect
from sinks.clickhouse.migrations import load_migrations
from tests.account_server import serving

pytestmark = pytest.mark.integration

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("account"), requests=200, minutes=4) as address:
        yield address


@pytest.fixture
def run(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command with `--json` and gives what it printed."""
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> Any:
        code = main(["--set", f'clickhouse.url="{url}"', "--json", *words])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return json.loads(captured.out)

    return command


def rows(url: str, sql: str) -> list[tuple[Any, ...]]:
    client = connect(url, "default", "", "trace")
    try:
        return [tuple(row) for row in client.query(sql).result_rows]
    finally:
        client.close()


def test_a_database_of_this_release_has_nothing_to_do(run: Run) -> None:
    assert run("migrate", "plan") == []
    assert {row["state"] for row in run("migrate", "status")} == {"applied"}


def test_a_new_database_is_planned_and_applied(run: Run, url: str) -> None:
    elsewhere = ("--set", "clickhouse.database=elsewhere")

    planned = run("migrate", "plan", *elsewhere)
    before = rows(url, "SELECT count() FROM system.databases WHERE name = 'elsewhere'")
    applied = run("migrate", "apply", *elsewhere)
    again = run("migrate", "apply", *elsewhere)

    assert [row["version"] for row in planned] == [migration.version for migration in load_migrations()]
    assert before == [(0,)]
    assert [row["version"] for row in applied["applied"]] == [row["version"] for row in planned]
    assert again == {"applied": [], "retention": [], "targets": []}


def test_a_changed_file_is_an_error(run: Run, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    changed = ("--set", f'clickhouse.url="{url}"', "--set", "clickhouse.database=changed")
    run("migrate", "apply", *changed[2:])
    client = connect(url, "default", "", "changed")
    client.command("INSERT INTO schema_versions (version, name, checksum) SELECT 1, 'events', 'other'")
    client.command("OPTIMIZE TABLE schema_versions FINAL")
    client.close()

    code = main([*changed, "migrate", "plan"])

    assert code != 0
    assert "0001_events was applied" in capsys.readouterr().err
    assert run("migrate", "status", *changed[2:])[0]["state"] == "changed"


def test_rows_are_kept_as_long_as_the_settings_say(run: Run, url: str) -> None:
    done = run("migrate", "apply", "--set", "clickhouse.retention_days.events=30")

    (engine,) = rows(url, "SELECT engine_full FROM system.tables WHERE database = 'trace' AND name = 'events'")
    assert len(done["retention"]) == 1
    assert "toIntervalDay(30)" in engine[0]
    assert len(run("migrate", "apply")["retention"]) == 1


def test_a_request_is_erased(run: Run, url: str) -> None:
    planned = run("erase", "--request", "r7", "--dry-run")
    others = rows(url, "SELECT count() FROM requests WHERE request_id != 'r7'")

    done = run("erase", "--request", "r7")

    assert planned["rows"]["requests"] >= 1 and planned["rows"] == done["rows"]
    assert rows(url, "SELECT count() FROM requests WHERE request_id != 'r7'") == others
    for table in ("requests", "events", "feedback"):
        assert rows(url, f"SELECT count() FROM {table} WHERE request_id = 'r7'") == [(0,)]


def test_a_tenant_is_erased_from_rows_and_from_projections(run: Run, url: str) -> None:
    done = run("erase", "--tenant", "acme")

    assert done["rows"]["requests"] > 0
    for use in (0, 1):
        counted = rows(
            url, f"SELECT tenant, count() FROM requests GROUP BY tenant SETTINGS optimize_use_projections = {use}"
        )
        assert {name for name, _ in counted} == {"globex", "initech", "umbrella"}
    assert rows(url, "SELECT count() FROM feedback WHERE request_id NOT IN (SELECT request_id FROM requests)") == [(0,)]


def test_whose_rows_has_to_be_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["erase"]) == 2
    assert "--request --tenant is required" in capsys.readouterr().err
