"""Every statement of every dashboard, executed as Grafana would, has rows that its panel can show."""

import json
import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from infra.grafana.alerts import ALERTS, Alert
from infra.grafana.boards import BOARDS
from infra.grafana.build import FOLDER
from tests.account_data.site import PRICES
from tests.integration.pages.conftest import MINUTES, Served
from tests.integration.pages.macros import expanded
from topics.trace_rows import RequestRow

pytestmark = pytest.mark.integration

SPAN_COLUMNS = [
    "traceID",
    "spanID",
    "parentSpanID",
    "serviceName",
    "operationName",
    "startTime",
    "duration",
    "tags",
    "statusCode",
]


def _panels() -> list[Any]:
    """Panels as Grafana reads them from the committed files."""
    found = []
    for board in BOARDS:
        dashboard = json.loads((FOLDER / f"{board.uid}.json").read_text())
        found += [pytest.param(panel, id=f"{board.uid}: {panel['title']}") for panel in dashboard["panels"]]
    return found


def _variables() -> list[Any]:
    return [pytest.param(v.sql, id=f"{board.uid}: {v.name}") for board in BOARDS for v in board.variables if v.sql]


def _ask(client: Client, served: Served, sql: str) -> tuple[list[str], list[str], Sequence[Sequence[Any]]]:
    """Columns, their types and rows of a statement with its macros expanded."""
    account = served.rows
    longest = max(account.attempts(), key=lambda row: (row.final == 0, row.finished_us))
    statement = expanded(
        sql,
        from_s=account.begins_us // 1_000_000,
        to_s=account.ends_us // 1_000_000,
        interval_s=30,
        variables={"model": ["tiny", "large"], "plan": "on_demand", "id": longest.request_id},
    )
    assert "$" not in statement
    result = client.query(statement)
    types = [str(kind.base_type) for kind in result.column_types]
    return list(result.column_names), types, result.result_rows


@pytest.mark.parametrize("panel", _panels())
def test_a_panel_gets_what_it_shows(panel: dict[str, Any], client: Client, served: Served) -> None:
    (target,) = panel["targets"]

    names, types, rows = _ask(client, served, target["rawSql"])

    assert rows, "no rows"
    CHECKS[panel["type"]](names, types, rows)


def test_the_cost_board_counts_requests_once_and_time_of_all_attempts(client: Client, served: Served) -> None:
    (board,) = [board for board in BOARDS if board.uid == "millrace-cost"]
    sql = {panel.title: panel.sql for panel in board.panels}

    def told(title: str) -> list[dict[str, Any]]:
        names, _, rows = _ask(client, served, sql[title])
        return [dict(zip(names, row, strict=True)) for row in rows]

    finals, attempts = served.rows.finals(), served.rows.attempts()
    useful = [row for row in finals if row.outcome == "completed"]
    tokens = sum(row.answer_tokens for row in finals)
    tenants, versions, (wasted,) = told("Tenants"), told("Versions"), told("Wasted")
    assert sum(row["requests"] for row in tenants) == len(finals) < sum(row.final for row in attempts)
    assert sum(row["tokens_made"] for row in tenants) == tokens
    assert sum(row["tokens_made"] for row in versions) == sum(row.answer_tokens for row in finals if row.deployment)
    assert sum(row["gpu_s"] for row in tenants) == pytest.approx(sum(r.gpu_ns for r in attempts) / 1e9, abs=1)
    assert sum(row["gpu_s"] * row["wasted_ratio"] for row in tenants) == pytest.approx(
        (sum(row.gpu_ns for row in attempts) - sum(row.gpu_ns for row in useful)) / 1e9, abs=1
    )
    assert wasted["usd"] == pytest.approx(_usd(served, attempts) - _usd(served, useful), abs=1e-6)


def _usd(served: Served, rows: list[RequestRow]) -> float:
    price = {gpu: usd for gpu, plan, usd in PRICES if plan == "on_demand"}
    gpu_of = {row.worker: row.gpu for row in served.rows.of("gpu_samples")}
    return sum(row.gpu_ns / 3.6e12 * price[gpu_of[row.worker]] for row in rows if row.gpu_ns)


@pytest.mark.parametrize("sql", _variables())
def test_a_variable_has_values(sql: str, client: Client, served: Served) -> None:
    _, _, rows = _ask(client, served, sql)

    assert {row[0] for row in rows} == {"tiny", "large"}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.uid)
def test_an_alert_rule_gets_one_number_of_each_of_its_labels(alert: Alert, client: Client, served: Served) -> None:
    """Over the account's own time, halved: the shipped rule looks back a day."""
    halved = alert.sql.replace("toIntervalHour(12)", f"toIntervalMinute({MINUTES // 2})")
    result = client.query(halved)

    names = list(result.column_names)
    of_labels = ["label"] if alert.uid == "millrace-labels-drift" else []
    assert names == ["deployment", "signal", *of_labels, "drift"]
    assert len({row[:-1] for row in result.result_rows}) == len(result.result_rows) > 0
    assert {row[0] for row in result.result_rows} <= {row.deployment for row in served.rows.finals()}
    assert all(math.isfinite(row[-1]) for row in result.result_rows)


def _timeseries(names: list[str], types: list[str], rows: Sequence[Sequence[Any]]) -> None:
    times = [row[0] for row in rows]
    texts = [name for name, kind in zip(names, types, strict=True) if _is_text(kind)]
    numbers = [i for i, kind in enumerate(types) if _is_number(kind)]
    assert names[0] == "time" and all(isinstance(at, datetime) for at in times)
    assert times == sorted(times)
    assert texts in ([], ["line"])
    assert len(numbers) + len(texts) == len(names) - 1 and numbers
    assert len({(row[0], *(row[i] for i, name in enumerate(names) if name in texts)) for row in rows}) == len(rows)


def _stat(names: list[str], types: list[str], rows: Sequence[Sequence[Any]]) -> None:
    assert len(rows) == 1 and len(names) == 1 and _is_number(types[0])
    assert rows[0][0] == rows[0][0]  # not NaN


def _bars(names: list[str], types: list[str], rows: Sequence[Sequence[Any]]) -> None:
    assert _is_text(types[0]) and len(types) > 1 and all(map(_is_number, types[1:]))
    assert len({row[0] for row in rows}) == len(rows)


def _table(names: list[str], types: list[str], rows: Sequence[Sequence[Any]]) -> None:
    assert len(names) == len(set(names)) > 3


def _spans(names: list[str], types: list[str], rows: Sequence[Sequence[Any]]) -> None:
    assert names == SPAN_COLUMNS
    known = {row[1] for row in rows}
    assert all(row[2] in known or row[2] == "" for row in rows)
    assert all(row[6] >= 0 for row in rows)
    assert {"key", "value"} == set(rows[0][7][0])


CHECKS = {"timeseries": _timeseries, "stat": _stat, "barchart": _bars, "table": _table, "traces": _spans}


def _is_text(kind: str) -> bool:
    return "String" in kind


def _is_number(kind: str) -> bool:
    return kind.startswith(("UInt", "Int", "Float"))
