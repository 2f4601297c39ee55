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
NOTHING: dict[str, list[Any]] = {"made": [], "migrations": [], "retention": [], "targets": []}
PROMISED = ("--set", "clickhouse.retention_days.events=30")
SETTINGS = """
[models.tiny]
stable = "tiny@v1"
classes = ["interactive"]

[deployments."tiny@v1"]
engine = "simulated"

[classes.interactive]
ttft_ms = 123
"""


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
    assert run("migrate", "plan") == NOTHING
    assert {row["state"] for row in run("migrate", "status")} == {"applied"}


def test_a_new_database_is_planned_and_applied(run: Run, url: str) -> None:
    elsewhere = ("--set", "clickhouse.database=elsewhere")

    planned = run("migrate", "plan", *elsewhere)
    before = rows(url, "SELECT count() FROM system.databases WHERE name = 'elsewhere'")
    applied = run("migrate", "apply", *elsewhere)
    again = run("migrate", "apply", *elsewhere)

    assert [row["version"] for row in planned["migrations"]] == [migration.version for migration in load_migrations()]
    assert [statement.split()[1] for statement in planned["made"]] == ["DATABASE", "TABLE"]
    assert before == [(0,)]
    assert [row["version"] for row in applied["applied"]] == [row["version"] for row in planned["migrations"]]
    assert run("migrate", "plan", *elsewhere) == NOTHING
    assert again == {"applied": [], "retention": [], "targets": []}


def test_the_plan_is_all_that_is_done(run: Run, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The statements of the plan, run by hand, leave nothing to do, and do what `apply` would have done."""
    (tmp_path / "millrace.toml").write_text(SETTINGS)
    flags = ["--set", f'clickhouse.url="{url}"', "--set", "clickhouse.database=byhand", *PROMISED]
    planned = run("migrate", "plan", *flags[2:])
    assert main([*flags, "migrate", "plan", "--sql"]) == 0
    statements = [text for text in capsys.readouterr().out.split(";\n\n") if text.strip()]
    client = connect(url, "default", "", "default")
    try:
        for statement in statements:
            client.command(statement)
    finally:
        client.close()

    assert len(planned["retention"]) == 1 and "30 DAY" in planned["retention"][0]
    assert planned["targets"][0]["ttft_ms"] == 123
    assert run("migrate", "plan", *flags[2:]) == NOTHING
    assert run("migrate", "apply", *flags[2:]) == {"applied": [], "retention": [], "targets": []}


def test_a_plan_without_migrations_still_says_what_the_settings_change(run: Run, tmp_path: Path) -> None:
    elsewhere = ("--set", "clickhouse.database=settled")
    run("migrate", "apply", *elsewhere)
    (tmp_path / "millrace.toml").write_text(SETTINGS)

    planned = run("migrate", "plan", *elsewhere, *PROMISED)

    assert planned["migrations"] == planned["made"] == []
    assert planned["retention"] == ["ALTER TABLE `settled`.events MODIFY TTL toDateTime(log_ts) + INTERVAL 30 DAY"]
    assert [target["ttft_ms"] for target in planned["targets"]] == [123]
    done = run("migrate", "apply", *elsewhere, *PROMISED)
    assert (done["retention"], done["targets"]) == (planned["retention"], planned["targets"])


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


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "say what to remove"),
        (["--request", "", "--tenant", "acme"], "--request is empty"),
        (["--tenant", "acme", "--model", "tiny"], "--model narrows down"),
    ],
)
def test_whose_rows_has_to_be_said(words: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["erase", *words]) == 2
    assert why in capsys.readouterr().err


TWINS = (
    ("globex", "tiny", 1),
    ("globex", "large", 2),
    ("initech", "tiny", 3),
)
"""Requests that have one id: tenant, model, offset."""


@pytest.fixture
def shared_id(url: str) -> Iterator[str]:
    """An id that three requests have, each with an event and feedback; a fourth judgement does not say whose it is."""
    client = connect(url, "default", "", "trace")
    try:
        for tenant, model, offset in TWINS:
            client.command(
                "INSERT INTO requests (log_ts, request_id, lane_topic, lane_offset, tenant, model, latency_class, "
                f"final, produced_ts, outcome) VALUES (now64(3), 'twin', 'lane', {offset}, '{tenant}', '{model}', "
                "'bulk', 1, now64(6), 'completed')"
            )
            client.command(
                "INSERT INTO events (log_ts, ts, kind, request_id, tenant, model) "
                f"VALUES (now64(3), now64(6), 'request.finished', 'twin', '{tenant}', '{model}')"
            )
        for tenant, model in (*((tenant, model) for tenant, model, _ in TWINS), ("", "")):
            client.command(
                "INSERT INTO feedback (log_ts, ts, request_id, signal, score, tenant, model) "
                f"VALUES (now64(3), now64(6), 'twin', 'thumbs', 1, '{tenant}', '{model}')"
            )
        yield "twin"
        for table in ("requests", "events", "feedback"):
            client.command(f"ALTER TABLE {table} DELETE WHERE request_id = 'twin' SETTINGS mutations_sync = 2")
    finally:
        client.close()


def left(url: str, table: str) -> list[tuple[Any, ...]]:
    return rows(url, f"SELECT toString(tenant), toString(model) FROM {table} WHERE request_id = 'twin' ORDER BY ALL")


@pytest.mark.parametrize("whose", [(), ("--tenant", "globex"), ("--model", "tiny")])
def test_an_id_that_several_requests_have_is_refused_and_nothing_goes(
    url: str, shared_id: str, whose: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--set", f'clickhouse.url="{url}"', "erase", "--request", shared_id, *whose]) == 1

    assert "requests have the id twin: say which" in capsys.readouterr().err
    assert [len(left(url, table)) for table in ("requests", "events", "feedback")] == [3, 3, 4]


def test_one_of_several_requests_with_an_id_is_erased(run: Run, url: str, shared_id: str) -> None:
    done = run("erase", "--request", shared_id, "--tenant", "globex", "--model", "large")

    assert done["rows"] == {"feedback": 1, "requests": 1, "events": 1, "texts": 0}
    kept = [("globex", "tiny"), ("initech", "tiny")]
    assert (left(url, "requests"), left(url, "events")) == (kept, kept)
    assert left(url, "feedback") == [("", ""), *kept]


def test_a_tenant_takes_no_feedback_of_others_along(run: Run, url: str, shared_id: str) -> None:
    run("erase", "--tenant", "initech")

    assert left(url, "requests") == [("globex", "large"), ("globex", "tiny")]
    assert left(url, "feedback") == [("", ""), ("globex", "large"), ("globex", "tiny")]


def test_feedback_is_erased_where_nothing_else_is_left(run: Run, url: str) -> None:
    client = connect(url, "default", "", "trace")
    client.command(
        "INSERT INTO feedback (log_ts, ts, request_id, tenant) VALUES (now64(3), now64(6), 'lonely', 'acme')"
    )
    client.close()

    assert run("erase", "--request", "lonely", "--tenant", "globex", "--dry-run")["rows"] == {"feedback": 0}
    assert run("erase", "--request", "lonely")["rows"] == {"feedback": 1}
