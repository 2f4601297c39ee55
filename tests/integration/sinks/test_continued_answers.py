"""Rows that were kept before answers knew of their continuation, and those after: one meaning."""

from pathlib import Path

import pytest

from sinks.clickhouse.client import connect
from sinks.clickhouse.migrations import load_migrations
from tests.account_server import serving

pytestmark = pytest.mark.integration

ADDED = 21
COLUMNS = (
    "log_ts, request_id, lane_offset, attempt, final, mode, produced_ts, first_us, last_us, finished_us, tokens_out"
)
ROW = "now64(3), '{id}', {offset}, 'a', 1, '{mode}', now64(6), 1000, 9000, 9500, 5"


def test_rows_of_before_mean_the_same(tmp_path: Path) -> None:
    migrations = load_migrations()
    before, after = migrations[: ADDED - 1], migrations[ADDED - 1 :]
    with serving(tmp_path, requests=1, minutes=4) as url:
        client = connect(url, "default", "", "trace")
        client.command("CREATE DATABASE older")
        for migration in before:
            for statement in migration.statements("older"):
                client.command(statement)
        client.command(
            f"INSERT INTO older.requests ({COLUMNS}) VALUES ({ROW.format(id='old', offset=1, mode='fresh')})"
        )
        for migration in after:
            for statement in migration.statements("older"):
                client.command(statement)
        client.command(
            f"INSERT INTO older.requests ({COLUMNS}, continued, continued_first_us, continued_last_us) "
            f"VALUES ({ROW.format(id='new', offset=2, mode='resume')}, 3, 250, 600)"
        )
        told = client.query(
            "SELECT request_id, tokens_out, continued, answer_first_us, ttft_ms, tpot_ms "
            "FROM older.requests_final ORDER BY lane_offset"
        ).result_rows
        client.close()
    assert [tuple(row) for row in told] == [("old", 5, 0, 1000, 1, 2), ("new", 8, 3, 250, 0.25, 1.25)]
