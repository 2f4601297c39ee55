"""Migrations for one server and for a cluster, and how long tables keep their rows."""

import pytest

from sinks.clickhouse.erasure import Found, Identity, Whose, chosen, of_request, of_tenant
from sinks.clickhouse.erasure import statements as erasures
from sinks.clickhouse.migrations.runner import load_migrations
from sinks.clickhouse.migrations.templating import on_cluster, statements
from sinks.clickhouse.retention import DEFAULT_DAYS, changes, check_days
from topics.errors import InvalidRequest, SettingsError

FILES = load_migrations()
EVERY = [statement for migration in FILES for statement in migration.statements("acme", "account")]


@pytest.mark.parametrize("statement", EVERY, ids=lambda statement: statement.partition("\n")[0][:70])
def test_every_statement_runs_on_the_whole_cluster(statement: str) -> None:
    assert statement.count(" ON CLUSTER `account`") == 1
    assert "ENGINE = MergeTree" not in statement
    assert "ENGINE = ReplacingMergeTree" not in statement


def test_tables_of_a_cluster_replicate() -> None:
    tables = [statement for statement in EVERY if statement.startswith("CREATE TABLE")]

    assert len(tables) > 10
    assert all("ENGINE = Replicated" in statement for statement in tables)


def test_a_statement_for_a_cluster() -> None:
    text = "-- why\nCREATE TABLE IF NOT EXISTS {database}.a (x Int8)\nENGINE = ReplacingMergeTree(x)\nORDER BY x;\n"

    assert statements(text, "acme", "east") == [
        "CREATE TABLE IF NOT EXISTS `acme`.a ON CLUSTER `east` (x Int8)\nENGINE = ReplicatedReplacingMergeTree(x)\n"
        "ORDER BY x"
    ]
    assert "CLUSTER" not in statements(text, "acme")[0]


@pytest.mark.parametrize("statement", ["INSERT INTO `a`.b VALUES (1)", "DROP TABLE `a`.b", "CREATE TABLE b (x Int8)"])
def test_what_has_no_form_for_a_cluster_is_refused(statement: str) -> None:
    with pytest.raises(SettingsError, match="has no form for a cluster"):
        on_cluster(statement, "east")


@pytest.mark.parametrize(("table", "days"), DEFAULT_DAYS.items())
def test_defaults_are_those_of_the_migrations(table: str, days: int) -> None:
    (text,) = (migration.text for migration in FILES if migration.name == table)

    assert f"+ INTERVAL {days} DAY" in text


def test_only_what_differs_is_changed() -> None:
    present = {"events": 7, "requests": 90, "requests_by_minute": 730}

    assert changes("acme", {"events": 30, "requests": 90}, present) == [
        "ALTER TABLE `acme`.events MODIFY TTL toDateTime(log_ts) + INTERVAL 30 DAY"
    ]
    assert changes("acme", {"requests_by_minute": 10}, present, "east") == [
        "ALTER TABLE `acme`.requests_by_minute ON CLUSTER `east` MODIFY TTL minute + INTERVAL 10 DAY"
    ]


def test_a_setting_that_is_taken_back_restores_the_default() -> None:
    assert changes("acme", {}, {"events": 30}) == [
        "ALTER TABLE `acme`.events MODIFY TTL toDateTime(log_ts) + INTERVAL 7 DAY"
    ]


def test_a_table_that_keeps_its_rows_for_ever_is_named() -> None:
    with pytest.raises(SettingsError, match="no rows of 'slo_targets' are ever removed"):
        check_days({"slo_targets": 5})


def test_a_name_cannot_break_out_of_its_literal() -> None:
    hostile = "x' OR 1 = 1 --\\"
    found = Found(request=hostile, identity=Identity(hostile, hostile), is_alone=True)
    conditions = [*of_request(found).values(), *of_tenant("acme", hostile).values()]

    assert all("'x\\' OR 1 = 1 --\\\\'" in condition for condition in conditions)
    assert not any("x' OR" in condition for condition in conditions)


def test_a_tenants_feedback_goes_before_the_requests_that_tell_whose_it_is() -> None:
    order = [statement.split()[2] for statement in erasures("acme", of_tenant("acme", "t"))]

    assert order[:2] == ["`acme`.feedback", "`acme`.requests"]
    assert set(order[2:]) == {"`acme`.events", "`acme`.requests_by_minute", "`acme`.texts"}


TWINS = [Identity("acme", "large"), Identity("acme", "tiny"), Identity("globex", "tiny")]


@pytest.mark.parametrize(
    ("whose", "meant"),
    [
        (Whose(request="r", tenant="globex"), TWINS[2]),
        (Whose(request="r", model="large"), TWINS[0]),
        (Whose(request="r", tenant="acme", model="tiny"), TWINS[1]),
    ],
)
def test_one_of_several_requests_with_an_id_can_be_named(whose: Whose, meant: Identity) -> None:
    assert chosen(whose, TWINS) == Found(request="r", identity=meant, is_alone=False)


@pytest.mark.parametrize("whose", [Whose(request="r"), Whose(request="r", tenant="acme")])
def test_an_id_of_several_requests_is_refused_with_what_would_name_one(whose: Whose) -> None:
    with pytest.raises(InvalidRequest, match="requests have the id r: say which, by --tenant acme --model large; "):
        chosen(whose, TWINS)


def test_feedback_that_does_not_say_whose_it_is_goes_only_with_the_only_request_of_its_id() -> None:
    alone, shared = (of_request(Found(request="r", identity=TWINS[0], is_alone=is_alone)) for is_alone in (True, False))

    assert "tenant IN ('', 'acme') AND model IN ('', 'large')" in alone["feedback"]
    assert "''" not in shared["feedback"]
    assert chosen(Whose(request="r", tenant="initech"), TWINS) is None


def test_minutes_are_kept_as_long_as_what_they_are_made_of() -> None:
    with pytest.raises(SettingsError, match="requests_by_minute is kept 10 days and requests 90"):
        check_days({"requests_by_minute": 10})
    check_days({"requests_by_minute": 10, "requests": 10})
