"""The process that owns the engine uses it without HTTP, whatever clients do."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sinks.clickhouse.embedded import PATIENCE_S
from sinks.clickhouse.http.limits import OWNER_BYTES
from sinks.clickhouse.http.priority import NICENESS, merge_threads
from tests.integration.sinks import owner_child

pytestmark = pytest.mark.integration

MEMORY_OF_CLIENTS, MEMORY_OF_ALL = "777", "241"
"""ClickHouse's codes of a statement that was ended because its workload, or the engine, had no memory left."""
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `owner_child` saw."""
    path = tmp_path_factory.mktemp("owner") / "data"
    command = [sys.executable, "-m", "tests.integration.sinks.owner_child", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=REPOSITORY, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_rows_come_back_as_python_values(seen: dict[str, Any]) -> None:
    assert (seen["total"], seen["default"]) == (owner_child.ROWS, 7)
    assert seen["at"] == "2026-01-01 01:02:03.456000+00:00"
    assert (seen["empty"], seen["arrow_rows"]) == ([], 5)


def test_settings_hold_for_their_call(seen: dict[str, Any]) -> None:
    assert seen["threads"] == 1


def test_failures_carry_the_engines_code_and_leave_nothing_behind(seen: dict[str, Any]) -> None:
    assert seen["codes"][:3] == [60, 395, 60]
    assert len(seen["codes"]) == 4
    assert seen["after_failures"] == [1, owner_child.ROWS + 1]


def test_the_owner_is_not_held_up_by_clients_that_use_up_the_pool(seen: dict[str, Any]) -> None:
    assert seen["total_under_load"] == owner_child.ROWS + 4


def test_an_insert_waits_for_clients_but_no_longer_than_the_last_one_took(seen: dict[str, Any]) -> None:
    first, second = seen["waits_s"]

    assert seen["quiet"] == [False, True]
    assert first == 0 < second <= PATIENCE_S


def test_merges_wait_for_everybody(seen: dict[str, Any]) -> None:
    assert seen["merging"] == [NICENESS] * merge_threads(os.cpu_count() or 1)


def test_the_owner_inserts_while_clients_want_more_memory_than_they_may_have_together(seen: dict[str, Any]) -> None:
    assert seen["inserted"] == 20_000 * owner_child.INSERTS
    assert set(seen["refusals"]) <= {MEMORY_OF_CLIENTS, MEMORY_OF_ALL}
    assert seen["grown_bytes"] < 2 * (owner_child.TOTAL_BYTES + OWNER_BYTES)  # 32 GiB were asked for


def test_clients_land_in_the_servers_database(seen: dict[str, Any]) -> None:
    assert seen["database"] == "account"


def test_a_second_owner_is_told_who_has_the_path(seen: dict[str, Any]) -> None:
    assert "another process owns this path" in seen["second_owner"]
